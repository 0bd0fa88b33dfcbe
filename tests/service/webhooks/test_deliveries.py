"""100 messages, kills of the service, and a receiver that is away at first."""

import random

from tests.rigs.webhooks.deliveries import Deliveries


def test_hundred_of_hundred_messages_survive_kills_and_a_receiver_that_is_away(tmp_path):
    deliveries = Deliveries(tmp_path / "var", random.Random(7))
    for _ in range(2):
        deliveries.end_jobs(50)
    assert (deliveries.arrived, len(deliveries.jobs)) == ([], 100)
    deliveries.deliver(kills=1, up=0.5)
    jobs = {message_id: message["data"]["id"] for message_id, message in deliveries.arrived}
    assert {*jobs.values()} == deliveries.jobs, deliveries.report()
    assert len(jobs) == 100, "a message that comes again has the same id"
