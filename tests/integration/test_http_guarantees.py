"""GET /v1/guarantees, with a real Kafka and Redis: it tells what is in force when it is asked, and what it may not see."""
import unittest

import http_client
import penstock_test as pt


def setUpModule():
    global house, api, redis, kafka
    kafka, redis = pt.Kafka("unclean.leader.election.enable=true"), pt.Redis()
    house = http_client.HttpHouse(kafka, redis, "guarantees", worker={"count": 1})
    unittest.addModuleCleanup(house.stop)
    house.serve()
    api = house.api()
    pt.wait_for(lambda: api("GET", "/v2/health/ready").status == 200, 60, "the house is ready")


def told():
    return api("GET", "/v1/guarantees").json


class Guarantees(unittest.TestCase):
    def test_a_redis_is_told_as_it_is_set_at_that_moment(self):
        found = told()["redis"]
        self.assertEqual((found["appendonly"], found["appendfsync"], found["maxmemory_policy"], found["role"], found["replicas"]),
                         (True, "everysec", "noeviction", "master", 0))
        self.assertEqual(found["survives_crash"], False)
        self.assertIn("about 1 s", found["means"])
        pt.redis_cli(redis, "CONFIG", "SET", "appendfsync", "always")
        self.assertEqual(told()["redis"]["survives_crash"], True)
        pt.redis_cli(redis, "CONFIG", "SET", "appendonly", "no")
        self.assertEqual((told()["redis"]["appendonly"], told()["redis"]["survives_crash"]), (False, False))
        pt.redis_cli(redis, "CONFIG", "SET", "appendonly", "yes")
        pt.redis_cli(redis, "CONFIG", "SET", "appendfsync", "everysec")

    def test_b_a_right_that_is_missing_makes_one_word_unknown(self):
        pt.redis_cli(redis, "ACL", "SETUSER", "default", "-config")
        found = told()["redis"]
        pt.redis_cli(redis, "ACL", "SETUSER", "default", "+config|get")
        self.assertEqual((found["appendfsync"], found["survives_crash"], found["appendonly"]), (None, None, True))
        self.assertIn("NOPERM", found["unknown"])
        self.assertNotIn("unknown", told()["redis"])  # one subcommand is all that is needed

    def test_c_each_topic_is_told_with_what_its_broker_has_in_force(self):
        found = told()["kafka"]
        self.assertEqual((found["acks"], found["idempotence"], found["brokers"], found["survives_crash"]), ("all", True, 1, False))
        self.assertEqual([topic["topic"].rsplit(".", 1)[-1] for topic in found["topics"]], ["commands", "control", "events", "dlq"])
        for topic in found["topics"]:
            with self.subTest(topic["topic"]):
                self.assertEqual((topic["replication_factor"], topic["in_sync"], topic["min_insync_replicas"]), (1, 1, 1))
                self.assertEqual((topic["unclean_leader_election"], topic["cleanup_policy"]), (True, "delete"))
                self.assertIn("lags behind", topic["means"])

    def test_d_all_of_it_is_told_in_a_sentence_each(self):
        found = told()
        self.assertEqual(found["means"], [found[part]["means"] for part in ("redis", "kafka", "relay")])
        self.assertEqual(found["survives_crash"], False)

    def test_e_servers_that_are_away_are_an_answer(self):
        redis.kill9()
        found = told()
        self.assertEqual((found["redis"]["reachable"], found["redis"]["survives_crash"]), (False, None))
        self.assertIn("redis", found["redis"]["unknown"])
        self.assertTrue(found["kafka"]["reachable"])
        redis.start()
        kafka.kill9()
        pt.wait_for(lambda: not told()["kafka"]["reachable"], 60, "Kafka's absence is told")
        self.assertRegex(told()["kafka"]["unknown"], "(?i)broker")
        pt.wait_for(lambda: told()["redis"]["reachable"], 30, "Redis is there again")


if __name__ == "__main__":
    pt.main()
