from types import SimpleNamespace

from insight.engine.heartbeat import Heartbeat


def test_it_prints_only_after_a_long_silence(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    printed = []
    trainer = SimpleNamespace(iter=0, max_iter=30)
    heartbeat = Heartbeat(SimpleNamespace(write=lambda: printed.append(trainer.iter)), usual=20, seconds=30)
    heartbeat.trainer = trainer
    heartbeat.before_train()
    for trainer.iter in range(30):
        now[0] += 8
        heartbeat.after_step()
    # Every fourth iteration takes the silence to 32 s; Detectron2 itself prints after iterations 19 and 29.
    assert printed == [3, 7, 11, 15, 23, 27]


def test_fast_trainings_print_as_ever():
    printed = []
    trainer = SimpleNamespace(iter=0, max_iter=100)
    heartbeat = Heartbeat(SimpleNamespace(write=lambda: printed.append(1)))
    heartbeat.trainer = trainer
    heartbeat.before_train()
    for trainer.iter in range(100):
        heartbeat.after_step()
    assert printed == []
