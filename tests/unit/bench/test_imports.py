"""Stations from a hardware map of Twister's and from files of labgrid."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.bench.discovery import SeenPort
from harness.bench.imports import import_labgrid, import_twister
from harness.errors import BenchError, ConfigError

# As `twister --generate-hardware-map` writes it, and its documentation shows it.
MAP = """
- connected: true
  id: 066EFF494851877267073741
  platform: nucleo_f746zg
  product: STM32 STLink
  runner: openocd
  serial: /dev/ttyACM9
- connected: true
  id: 000683759358
  platform: nucleo_f446re/stm32f446xx
  product: J-Link
  probe_id: "683759358"
  runner: jlink
  serial: /dev/ttyACM8
- connected: true
  id: 0240000026334e450015400f5e0e000b4eb1000097969900
  platform: frdm_k64f
  product: DAPLink CMSIS-DAP
  runner: pyocd
  serial: /dev/ttyACM7
- connected: false
  id: 066EFF49485187726707FFFF
  platform: nucleo_l4r5zi
  product: STM32 STLink
  runner: openocd
  serial: null
"""
# As labgrid's documentation has an exporter's configuration.
EXPORTER = """
desk-nucleo_f746zg:
  NetworkSerialPort:
    host: lab1
    port: 4001
    speed: 115200
  USBDebugger:
    match:
      ID_SERIAL_SHORT: 066EFF494851877267073741
second:
  USBSerialPort:
    match:
      ID_SERIAL_SHORT: 066EFF0000000000000000AB
  debugger:
    cls: USBDebugger
    match:
      ID_SERIAL_SHORT: 066EFF0000000000000000AB
shelf:
  NetworkPowerPort:
    model: gude
    host: power1
    index: 0
"""
ENVIRONMENT = """
targets:
  nucleo_f446re:
    resources:
    - NetworkSerialPort: {host: lab2, port: 4002, protocol: raw}
    - NetworkUSBDebugger: {host: lab2, busnum: 1, devnum: 4, path: '1-1'}
"""


def test_a_hardware_map_becomes_stations_and_what_is_left_out_is_named(tmp_path: Path) -> None:
    file = tmp_path / "hardware-map.yml"
    file.write_text(MAP)
    bench = import_twister(file)
    assert [(s.name, s.board, s.probe, s.serial) for s in bench.stations] == [
        ("nucleo_f746zg-3741", "nucleo_f746zg", "066EFF494851877267073741", "/dev/ttyACM9"),
        ("nucleo_f446re-9358", "nucleo_f446re", "683759358", "/dev/ttyACM8"),
    ]
    unknown, absent = bench.notes
    assert "frdm_k64f" in unknown and "--board" in unknown
    assert "nucleo_l4r5zi" in absent and "not connected" in absent
    named = import_twister(file, {"frdm_k64f": "nucleo_f767zi"})
    assert [station.board for station in named.stations][2] == "nucleo_f767zi"


def test_an_exporters_file_becomes_stations_of_this_host(tmp_path: Path) -> None:
    file = tmp_path / "exporter.yaml"
    file.write_text(EXPORTER)
    ports = (SeenPort("/dev/ttyACM5", "066EFF0000000000000000AB"),)
    bench = import_labgrid(file, {"second": "nucleo_l4r5zi"}, ports=lambda: ports)
    one, two = bench.stations
    assert (one.board, one.serial) == ("nucleo_f746zg", "rfc2217://lab1:4001")
    assert one.probe == "066EFF494851877267073741"
    assert (two.board, two.serial, two.probe[-2:]) == ("nucleo_l4r5zi", "/dev/ttyACM5", "AB")
    assert not bench.notes
    assert "second: unknown board" in import_labgrid(file, ports=lambda: ports).notes[0]


def test_an_environment_says_where_its_probe_has_to_be_served(tmp_path: Path) -> None:
    file = tmp_path / "env.yaml"
    file.write_text(ENVIRONMENT)
    bench = import_labgrid(file)
    (station,) = bench.stations
    assert (station.probe, station.serial) == ("remote:lab2:5555", "socket://lab2:4002")
    assert "pyocd server" in bench.notes[0]


def test_a_place_needs_labgrids_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    file = tmp_path / "env.yaml"
    file.write_text("targets: {main: {resources: {RemotePlace: {name: desk}}}}")
    for arguments in ((file,), ()):
        with pytest.raises(BenchError, match="labgrid-client is not on the PATH"):
            import_labgrid(*arguments)


@pytest.mark.parametrize("text", ["[1, 2]", "just text", "a: [", "\x00"])
def test_other_files_are_refused_with_their_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "odd.yml"
    file.write_text(text)
    for read in (import_twister, import_labgrid):
        with pytest.raises(ConfigError, match=r"odd\.yml"):
            read(file)
    with pytest.raises(ConfigError, match="cannot read"):
        import_twister(tmp_path / "none.yml")
