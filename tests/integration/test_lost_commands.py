"""Commands that Kafka's retention deleted before anybody read them: `serve` refuses to pass over them, with the exact range, and
goes on only when it is told to, leaving an event and a dead letter of it."""
import re
import unittest

import flow
import penstock_test as pt

KEEP_MS = 5000
READ, LOST = 3, 4  # commands that are read, and that are deleted unread


class LostCommands(unittest.TestCase):
    def first_offset(self, house):
        told = pt.run(["kcat", "-Q", "-b", house.kafka.bootstrap, "-t", f"{house.commands}:0:-2"]).stdout
        return int(re.search(r"offset (\d+)", told).group(1))

    def test_serve_ends_with_the_range_and_goes_on_only_when_told_to(self):
        kafka = pt.Kafka(f"log.retention.ms={KEEP_MS}", f"log.roll.ms={KEEP_MS}")
        house = flow.House(kafka, pt.Redis(), "lost", bus={"partitions": 1})
        first = house.serve("--no-workers")
        house.produce([flow.create(f"read{n}") for n in range(READ)])
        house.wait_count("queued", READ)
        house.end(first)
        house.produce([flow.create(f"lost{n}") for n in range(LOST)])
        pt.wait_for(lambda: self.first_offset(house) == READ + LOST, 60, "Kafka has deleted them")

        refuses = pt.Penstock("serve", house.settings, "--no-workers")
        self.assertEqual(refuses.process.wait(60), 1, refuses.log())
        self.assertIn(f"lost.commands[0]: the commands at offsets {READ} to {READ + LOST - 1} were deleted", refuses.log())
        self.assertIn("--accept-lost-commands goes on", refuses.log())
        self.assertEqual({event.to for event in house.events()}, {"queued"}, "something was done about them untold")

        house.produce([flow.create("next")])
        house.serve("--no-workers", "--accept-lost-commands")
        house.wait_state("next", "queued")
        (event,) = house.rejected(1)
        self.assertEqual(event.value["reason"], "commands_lost")
        self.assertIn(f"offsets {READ} to {READ + LOST - 1}", event.value["error"]["message"])
        (letter,) = pt.kcat_consume(kafka, house.dlq, 1)
        self.assertEqual((letter["payload"], dict(letter["headers"])["penstock_error_code"]), ("", "commands_lost"))
        self.assertEqual(house.count("queued"), READ + 1)
        house.verify()
        house.stop()


if __name__ == "__main__":
    pt.main()
