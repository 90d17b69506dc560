"""Console of another host, by RFC 2217: pyserial's client, which lets go of its socket."""

from __future__ import annotations

from typing import Any

from serial.rfc2217 import Serial


class RemotePort(Serial):
    """A port that is closed for good, also after its server has closed the connection."""

    _socket: Any

    def close(self) -> None:
        """Close the port; takes 0.3 s, as pyserial lets a server notice."""
        connection = self._socket
        try:
            super().close()
        finally:
            if connection is not None:
                connection.close()

    def ping(self) -> None:
        """Wait for the server to answer; raises `serial.SerialException` after 3 s.

        It is asked to drop what waits to be sent to the board, which is nothing while the board is
        awaited.
        """
        self.reset_output_buffer()
