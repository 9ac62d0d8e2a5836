"""kafka_rights: gives and takes Kafka's ACLs, through librdkafka's admin interface, which Penstock needs anyway.

    rights = kafka_rights.Rights(kafka.bootstrap)        # as somebody who may change them
    rights.allow("alice", "Read", "topic", "penstock.commands")
    rights.forget("alice", "Read", "topic", "penstock.commands")
"""
import ctypes

KINDS = {"topic": 2, "group": 3}  # rd_kafka_ResourceType_t
OPERATIONS = {"Read": 3, "Write": 4, "Create": 5}  # rd_kafka_AclOperation_t
LITERAL, ALLOW, PRODUCER, TIMEOUT_MS = 3, 3, 0, 30000
POINTERS = ("rd_kafka_new", "rd_kafka_conf_new", "rd_kafka_queue_new", "rd_kafka_queue_poll", "rd_kafka_AclBinding_new",
            "rd_kafka_AclBindingFilter_new", "rd_kafka_event_CreateAcls_result", "rd_kafka_event_DeleteAcls_result",
            "rd_kafka_CreateAcls_result_acls", "rd_kafka_DeleteAcls_result_responses", "rd_kafka_acl_result_error",
            "rd_kafka_DeleteAcls_result_response_error", "rd_kafka_DeleteAcls_result_response_matching_acls")


def _open():
    lib = ctypes.CDLL("librdkafka.so.1")
    for name in POINTERS:
        getattr(lib, name).restype = ctypes.c_void_p
    lib.rd_kafka_event_error_string.restype = ctypes.c_char_p
    lib.rd_kafka_error_string.restype = ctypes.c_char_p
    return lib


class Rights:
    def __init__(self, bootstrap):
        self.lib, self.why = _open(), ctypes.create_string_buffer(512)
        conf = ctypes.c_void_p(self.lib.rd_kafka_conf_new())
        assert self.lib.rd_kafka_conf_set(conf, b"bootstrap.servers", bootstrap.encode(), self.why, 512) == 0, self.why.value
        self.rk = ctypes.c_void_p(self.lib.rd_kafka_new(PRODUCER, conf, self.why, 512))
        assert self.rk, self.why.value
        self.queue = ctypes.c_void_p(self.lib.rd_kafka_queue_new(self.rk))

    def _binding(self, make, user, operation, kind, name):
        binding = ctypes.c_void_p(make(KINDS[kind], name.encode(), LITERAL, f"User:{user}".encode(), b"*", OPERATIONS[operation],
                                       ALLOW, self.why, ctypes.c_size_t(512)))
        assert binding, self.why.value
        return binding

    def _ask(self, call, binding):
        """One request with one binding; returns the event, which stays as long as the test does."""
        call(self.rk, (ctypes.c_void_p * 1)(binding), ctypes.c_size_t(1), None, self.queue)
        event = ctypes.c_void_p(self.lib.rd_kafka_queue_poll(self.queue, TIMEOUT_MS))
        assert event, "no answer from Kafka"
        assert self.lib.rd_kafka_event_error(event) == 0, self.lib.rd_kafka_event_error_string(event)
        return event

    def _first(self, results, result):
        """The first of the results, of which there must be one."""
        count = ctypes.c_size_t()
        array = ctypes.cast(results(ctypes.c_void_p(result), ctypes.byref(count)), ctypes.POINTER(ctypes.c_void_p))
        assert count.value == 1, f"{count.value} results"
        return ctypes.c_void_p(array[0])

    def _check(self, error):
        assert not error, self.lib.rd_kafka_error_string(ctypes.c_void_p(error))

    def allow(self, *right):
        event = self._ask(self.lib.rd_kafka_CreateAcls, self._binding(self.lib.rd_kafka_AclBinding_new, *right))
        done = self._first(self.lib.rd_kafka_CreateAcls_result_acls, self.lib.rd_kafka_event_CreateAcls_result(event))
        self._check(self.lib.rd_kafka_acl_result_error(done))

    def forget(self, *right):
        event = self._ask(self.lib.rd_kafka_DeleteAcls, self._binding(self.lib.rd_kafka_AclBindingFilter_new, *right))
        done = self._first(self.lib.rd_kafka_DeleteAcls_result_responses, self.lib.rd_kafka_event_DeleteAcls_result(event))
        self._check(self.lib.rd_kafka_DeleteAcls_result_response_error(done))
        self._first(self.lib.rd_kafka_DeleteAcls_result_response_matching_acls, done.value)  # it was there
