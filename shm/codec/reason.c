#include "shm/codec/reason.h"

const char *es_reason_text(uint32_t reason)
{
    switch ((enum es_reason)reason) {
    case ES_REASON_NONE: return "no rule was broken";
    case ES_REASON_MALFORMED: return "not MessagePack of the expected shape in its shortest form";
    case ES_REASON_VERSION: return "written in a version that is not known here";
    case ES_REASON_TRAILING_BYTES: return "bytes follow the end of the value";
    case ES_REASON_OPERATION_KIND: return "no such kind of operation";
    case ES_REASON_OPERATION_COUNT: return "a transaction has 1 to 4096 operations";
    case ES_REASON_EVENT_COUNT: return "an append has at least one event";
    case ES_REASON_TRANSACTION_SIZE: return "the transaction is larger than the broker allows";
    case ES_REASON_PAYLOAD_SIZE: return "the payload is larger than a record can carry";
    case ES_REASON_RECORD: return "the ring record's header, length or checksum is wrong";
    case ES_REASON_STREAM_FORM: return "a stream is written variant:branch:L0:domain:Mmodel";
    case ES_REASON_STREAM_LEVEL:
        return "a level is a number up to 2147483647 without leading zeros";
    case ES_REASON_NAME_EMPTY: return "a part or name is empty";
    case ES_REASON_NAME_TOO_LONG: return "a part or name is longer than 255 bytes";
    case ES_REASON_NAME_NOT_UTF8: return "a part or name is not UTF-8";
    case ES_REASON_NAME_COLON: return "a part or name holds a colon";
    case ES_REASON_NAME_CONTROL: return "a part or name holds a control character";
    case ES_REASON_NAME_RESERVED: return "a part or name begins with '$', which is reserved";
    case ES_REASON_TYPE_SIZE: return "an event type is 1 to 255 bytes long";
    case ES_REASON_TYPE_NOT_PRINTABLE: return "an event type is printable UTF-8";
    case ES_REASON_KEY_SIZE: return "a key is 1 to 1024 bytes long";
    case ES_REASON_KEY_TEXT: return "a key is UTF-8 without control characters";
    case ES_REASON_TICK: return "a tick is 0 to 9223372036854775807";
    case ES_REASON_EXPECTED_SEQUENCE: return "an expected sequence is nil, -1, 0 or a sequence";
    case ES_REASON_EXPECTED_HASH: return "an expected hash is empty or 32 bytes long";
    case ES_REASON_FAMILY: return "a key belongs to family 0 (kv) or 1 (read_models)";
    case ES_REASON_REVISION: return "that revision cannot be expected here";
    case ES_REASON_SEQUENCE: return "a sequence is at least 1";
    case ES_REASON_STREAM_EXISTS: return "the stream exists";
    case ES_REASON_STREAM_MISSING: return "the stream does not exist";
    case ES_REASON_SEQUENCE_DIFFERS: return "the stream's last sequence is another";
    case ES_REASON_HASH_DIFFERS: return "the stream's last hash is another";
    case ES_REASON_EVENT_HASH_DIFFERS: return "the event came out with another hash";
    case ES_REASON_KEY_EXISTS: return "the key exists";
    case ES_REASON_KEY_MISSING: return "the key does not exist";
    case ES_REASON_REVISION_DIFFERS: return "the key's revision is another";
    case ES_REASON_SNAPSHOT_EVENT: return "the snapshot names an event that is not there";
    case ES_REASON_PRODUCER_SKIPPED:
        return "the producer sequence is behind the last one and was never committed";
    case ES_REASON_PRODUCER_CONTENT:
        return "the producer sequence was committed with other content";
    case ES_REASON_PRODUCER_GAP: return "the producer sequence is not the next one";
    case ES_REASON_PRODUCER_UNNAMED: return "a producer sequence needs a named producer";
    case ES_REASON_PRODUCER_FENCED: return "another owner has taken over the producer's name";
    case ES_REASON_PREVIOUS_FAILED: return "an earlier ordered record was refused";
    case ES_REASON_DISK_RESERVE: return "the broker's disk is below its reserve";
    case ES_REASON_LANE_EVICTED: return "the lane was evicted";
    case ES_REASON_NOT_SERVING: return "the broker is not serving";
    case ES_REASON_READ_ONLY: return "the broker is read-only";
    case ES_REASON_BATCH_LIMIT: return "the transaction does not fit into one commit";
    case ES_REASON_PRODUCER_NUMBER: return "a named producer's transaction has no number";
    case ES_REASON_REQUEST_UNKNOWN: return "no such request";
    case ES_REASON_REQUEST_ARGUMENT: return "an argument is outside its documented range";
    case ES_REASON_EPOCH_UNKNOWN: return "the checkpoint belongs to another history";
    case ES_REASON_DAMAGE: return "the stored bytes do not verify";
    }
    return "a reason that is not known here";
}
