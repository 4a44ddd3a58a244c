"""pycriu.images over the golden checkpoints: what CRIU printed, and back to the same bytes."""

import io
import json

import pytest
from conftest import golden_images, named

from pycriu import images

PAIRS = golden_images()


def test_there_are_golden_images():
    assert len(PAIRS) > 100


@pytest.mark.parametrize("pair", PAIRS, ids=named)
def test_golden_image(pair):
    image, printed = pair
    data = image.read_bytes()
    text = printed.read_text()
    with image.open("rb") as f:
        pretty = images.load(f, pretty=True)
    assert json.dumps(pretty, indent=4) == text
    assert list(pretty["entries"][0]) == list(json.loads(text)["entries"][0]) if pretty["entries"] else True
    plain = images.loads(data)
    assert images.dumps(pretty) == data
    assert images.dumps(plain) == data
    assert images.dumps(json.loads(json.dumps(plain))) == data
    out = io.BytesIO()
    images.dump(plain, out)
    assert out.getvalue() == data
    assert images.info(io.BytesIO(data)) == {"magic": plain["magic"], "count": len(plain["entries"])}
    handler = images.handlers[plain["magic"]]
    assert handler.loads(data) == plain["entries"]
    assert handler.dumps(plain["entries"]) == data
