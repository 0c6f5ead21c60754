"""Public files whose licences do not let us keep them: where they are at hand, what `import` makes of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.commands.import_ import samples
from pipeline.config import load_text
from pipeline.config.interpolate import interpolate
from pipeline.importing.line_text import line_text
from pipeline.importing.placement import place_program
from pipeline.importing.program import Program
from pipeline.importing.recognise import read_file
from pipeline.importing.settling import settle_layouts

FOLDER = os.environ.get("PUBLIC_EXAMPLES", "")
"""Holds them as `owner/name/path`, at the commits below."""
CONVEYORS = "Canabis220/Robot"  # 09cf63ba554a34828d8ec7f16b57f624ebb80740
DIP_LINE = "RoanBrand/SpottingLine2018"  # 4a5062dbaabc568ce9fe8620a3b3ba2f22b8bbe0, its .csv f8dbc0465634c6b2
SAND_MIXER = "RoanBrand/S7-MixerSystem"  # 0741561c66e8dd8b3f181b324833ba99431699e3
ELEVATOR = "lysog2000-hue/TIA_PORTAL"  # 8aa7271a2eb85e7166ca356e6f9775cc89389a55
ASPHALT = "duyphuoca404/NhuaNong_UpgradedByAntigravity"  # db20de67ef7130d770a7254a63f2678759329c68
EDITOR = "BjAlvestad/vscode-simatic-scl"  # cd00a4731aba69e51e5c3544059ac82cb0e6c847
WAREHOUSE = "KanSergo/TIAPortalDBtoJSON"  # b69744577382f5c71af0686ff3ce3fbe9013c789
WELDING = "dkt64/tagsgenerator"  # tables a80fc92460986beade8ccb3813793dc3539168aa, .csv 7d875a8f70f4d6a4
KEPWARE = "PTCInc/Kepware-Example-Scripts"  # 935a70d1aac3d13d8226eeefc2ee63d1f01ac094
STEP_7 = "ivangre4/PLC_Programms"  # ef8be7be98a5365bd1c82bbd61455490606bba7f


def taken(repository: str, *paths: str) -> tuple[Program, int]:
    """What these files declare together, and how many fields have a place; what is made of them loads."""
    program = Program()
    files = [Path(FOLDER) / repository / path for path in paths]
    for file in files:
        read_file(file, program)
    places = place_program(program)
    settle_layouts(places, program)
    if text := line_text(program, places, "line", files, "10.0.0.1"):
        code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
        unset = interpolate(code, {}).missing
        if len(text) < 1 << 20:
            load_text(text, Path("line.yaml"), dict(samples(dict.fromkeys(unset))))
    return program, sum(len(layout.fields) for layout in places.layouts.values())


@pytest.mark.skipif(not FOLDER, reason="PUBLIC_EXAMPLES names no folder with public files, see examples/README.md")
@pytest.mark.parametrize(
    ("repository", "paths", "tags", "types", "fields"),
    [
        (CONVEYORS, ["PLCTags.sdf"], 689, 0, 0),
        (WELDING, ["export_files/PLCTags.sdf"], 52, 0, 0),
        (STEP_7, ["Programms_Siemens/Step7/S7DATA/SYMBOL/SYMBOL.SDF"], 0, 0, 0),
        (CONVEYORS, ["PLCTags.xml"], 689, 0, 0),
        (DIP_LINE, ["PLCTags.xml"], 210, 0, 0),
        (ASPHALT, ["PLCTags.xml"], 249, 0, 0),
        (ASPHALT, ["PLC program/PLC_1/PLC tags/Out_Put.xml"], 83, 0, 0),
        (EDITOR, ["test/examples/Tags/myTags.tags.xml"], 4, 0, 0),
        (DIP_LINE, ["PLCTags.csv"], 206, 0, 0),
        (ELEVATOR, ["PLCTags.csv"], 952, 0, 0),
        (WELDING, ["export_files/Symbols.asc"], 3104, 0, 0),
        (SAND_MIXER, ["Symbols.asc"], 142, 0, 0),
        (WELDING, ["export_files/UKL-01.csv"], 19486, 0, 0),
        (WELDING, ["export_files/plc.csv"], 210, 0, 0),
        (KEPWARE, ["Config API/Project Maker/Tags/SiemensExample.csv"], 4, 0, 0),
        (WAREHOUSE, ["TrackData.udt"], 0, 1, 0),
        (EDITOR, ["test/examples/TestBlocks/U_Status.udt"], 0, 1, 0),
        (EDITOR, ["test/examples/value-declarations.udt"], 0, 1, 0),
        (CONVEYORS, ["UDT_Counter Integer.udt", "DB_Counters.db"], 0, 1, 32),
        (CONVEYORS, ["Robot12.db"], 0, 0, 76),
        (CONVEYORS, ["PN-INPUT.db"], 0, 0, 127),
        (WAREHOUSE, ["TrackData.udt", "GDB#TRACK_MAP.db", "GDB#WarehouseConstant_DB.db"], 0, 1, 22),
        (EDITOR, ["test/examples/TestBlocks/U_Status.udt", "test/examples/TestBlocks/DB_MyDbFromUdt.db"], 0, 1, 4),
        (SAND_MIXER, ["Queue.SCL", "Cars.SCL", "Dispensers.SCL", "Main.SCL"], 0, 10, 16),
        (DIP_LINE, ["conveyor.scl"], 0, 1, 0),
        (ELEVATOR, ["Manual/UDTs/UDT_MailBox_Ack.scl", "Manual/UDTs/UDT_MailBox_Req.scl"], 0, 2, 0),
        (CONVEYORS, ["UDT_valve.AWL", "DB_valve.AWL"], 0, 1, 183),
        (STEP_7, ["Programms_Siemens/Step7/S7Proj/Plcsim_project/s7asrcom/00000001/00000001.AWL"], 0, 1, 8),
    ],
)
def test_public_files_give_as_many_tags_types_and_fields_as_they_declare(
    repository: str, paths: list[str], tags: int, types: int, fields: int
) -> None:
    """Nothing of them is left out but the periphery and blocks without data."""
    program, placed = taken(repository, *paths)
    assert (len(program.tags), len(program.types), placed) == (tags, types, fields)
    told = [remark.note.text for remark in program.remarks]
    assert [text for text in told if "is called" not in text and "periphery" not in text] == []
