"""Import a disk image file that a user names."""

from __future__ import annotations

from insula.control.operations.engine.lanes import IMAGE
from insula.control.operations.engine.table import Facts, Step, Table, Work
from insula.control.operations.images.endings import DEADLINE_S, image_facts, result, unchanged
from insula.domain.instance import Platform
from insula.domain.operation import Verb


async def import_file(work: Work) -> Facts:
    path, image_format = str(work.params["path"]), str(work.params["image_format"])
    platform = Platform(work.params.get("platform", Platform.NOCLOUD))
    async with work.turn(IMAGE):
        image = await work.node.import_image(
            work.operation.target, path, image_format, work.report.progress, platform=platform
        )
    return image_facts(image)


IMPORT_IMAGE = Table(
    Verb.IMPORT_IMAGE,
    (
        Step(
            "import",
            import_file,
            no_undo="The node imports the whole file or nothing; removing the name could hit an older image.",
            deadline_s=DEADLINE_S,
        ),
    ),
    result,
    unchanged,
)
