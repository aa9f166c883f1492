import logging
import warnings

from insight.runtime.notices import silence_notices, without_warnings


def test_notices_about_others_code_are_silent_and_nothing_else_is(monkeypatch):
    monkeypatch.setattr(logging.getLogger("torch.fx._symbolic_trace"), "level", logging.NOTSET)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        silence_notices()
        warnings.warn("torch.meshgrid: in an upcoming release, it will be required ...", UserWarning, stacklevel=1)
        warnings.warn("`torch.jit.script` is deprecated. Please switch to `torch.compile`", FutureWarning, stacklevel=1)
        warnings.warn("boxes: something of ours", UserWarning, stacklevel=1)
    assert [str(one.message) for one in heard] == ["boxes: something of ours"]
    assert not logging.getLogger("torch.fx._symbolic_trace").isEnabledFor(logging.WARNING)


def test_warnings_are_silent_in_a_block(caplog):
    logger = logging.getLogger("insight.anything")
    with without_warnings():
        logger.warning("in")
    logger.warning("after")
    assert [record.message for record in caplog.records] == ["after"]
