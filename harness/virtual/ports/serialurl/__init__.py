"""pyserial URL handlers; add with ``serial.protocol_handler_packages.append(__name__)``."""
