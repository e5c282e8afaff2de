"""Redis Streams to Kafka and back: `python -m bridge`.

Inbound copies the backend's streams to topics of the same names, at least once and in order; outbound copies
result topics to streams, each result once. The bridge does not look inside an entry beyond its key field.
"""
