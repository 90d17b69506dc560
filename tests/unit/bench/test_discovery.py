from __future__ import annotations

from pathlib import Path

from harness.bench.discovery import SeenPort, SeenProbe, discover, stable_path
from harness.boards import Board, load_board
from harness.errors import BenchError

STLINK = SeenProbe("066DFF485550755187121723", "STMicroelectronics STM32 STLink", "0816", None)
PORT = SeenPort("/dev/ttyACM0", "066DFF485550755187121723", "STM32 STLink")


def test_probe_and_port_of_one_usb_device_make_a_station() -> None:
    bench = discover(lambda: [STLINK], lambda: [SeenPort("/dev/ttyS0"), PORT])
    (station,) = bench.stations
    assert station.name == "nucleo_f746zg-1723"
    assert station.board == "nucleo_f746zg"
    assert station.probe == STLINK.unique_id
    assert station.serial == "/dev/ttyACM0"
    assert station.source == "hardware"
    assert bench.notes == ()


def test_board_by_the_name_that_pyocd_knows() -> None:
    probe = SeenProbe("AB12", "DAPLink", None, "NUCLEO-F446RE")
    bench = discover(lambda: [probe], lambda: [SeenPort("/dev/ttyACM3", "ab12")])
    assert bench.stations[0].board == "nucleo_f446re"


def test_jlink_serial_without_leading_zeros() -> None:
    probe = SeenProbe("683123456", "SEGGER J-Link", None, "NUCLEO-F767ZI")
    bench = discover(lambda: [probe], lambda: [SeenPort("/dev/ttyACM1", "000683123456")])
    assert bench.stations[0].serial == "/dev/ttyACM1"


def test_a_probe_that_names_no_board_is_told_by_its_chip() -> None:
    jlink = SeenProbe("683123456", "Segger J-Link")
    ports = [SeenPort("/dev/ttyACM1", "000683123456")]
    board = load_board("nrf52840_dk")
    bench = discover(lambda: [jlink], lambda: ports, by_chip=lambda *_: (board,))
    assert bench.stations[0].board == "nrf52840_dk"
    assert "its chip is that of nrf52840_dk" in bench.notes[0]

    def closed(*_: object) -> tuple[Board, ...]:
        raise BenchError("the chip does not answer")

    bench = discover(lambda: [jlink], lambda: ports, by_chip=closed)
    assert bench.stations == () and "the chip does not answer" in bench.notes[0]


def test_virtual_probes_need_no_file() -> None:
    bench = discover(lambda: [SeenProbe("virtual:nucleo_f746zg", "virtual")], lambda: [])
    assert bench.stations == ()
    assert bench.notes == ()


def test_what_cannot_be_placed_is_said() -> None:
    probes = [
        SeenProbe("1111", "Segger J-Link"),
        SeenProbe("2222", "ST-LINK", "0001", "NUCLEO-UNKNOWN"),
        SeenProbe("3333", "ST-LINK", "0818"),
        SeenProbe("4444", "STMicroelectronics STM32 STLink"),
        SeenProbe("5555", "ST-LINK", "0781"),
    ]
    bench = discover(lambda: probes, lambda: [])
    assert bench.stations == ()
    told, unknown, portless, old, same_chip = bench.notes
    assert "does not report its board" in told
    assert "NUCLEO-UNKNOWN" in unknown
    assert "no serial port" in portless
    assert "nucleo_f767zi" in portless
    assert "V2J36" not in told
    assert "firmware before V2J36 or V3J6" in old
    assert "update it" in old
    assert "nucleo_l4r5zi" in same_chip  # NUCLEO-L4R5ZI-P


def test_several_ports_take_the_first_and_say_so() -> None:
    ports = [SeenPort("/dev/ttyACM2", STLINK.unique_id), PORT]
    bench = discover(lambda: [STLINK], lambda: ports)
    assert bench.stations[0].serial == "/dev/ttyACM0"
    assert "/dev/ttyACM2" in bench.notes[0]


def test_names_stay_unique() -> None:
    twins = [SeenProbe("A1723", "ST-LINK", "0816"), SeenProbe("B1723", "ST-LINK", "0816")]
    ports = [SeenPort("/dev/ttyACM0", "A1723"), SeenPort("/dev/ttyACM1", "B1723")]
    bench = discover(lambda: twins, lambda: ports)
    assert [s.name for s in bench.stations] == ["nucleo_f746zg-1723", "nucleo_f746zg-1723-2"]


def test_a_port_is_named_by_its_usb_device(tmp_path: Path) -> None:
    port, other, links = tmp_path / "ttyACM0", tmp_path / "ttyACM1", tmp_path / "by-id"
    port.touch()
    other.touch()
    assert stable_path(str(port), links) == str(port)  # no udev
    links.mkdir()
    (links / "usb-STM32_STLink_066D-if02").symlink_to("../ttyACM0")
    assert stable_path(str(port), links) == str(links / "usb-STM32_STLink_066D-if02")
    assert stable_path(str(other), links) == str(other)
    assert stable_path("COM7", links) == "COM7"
