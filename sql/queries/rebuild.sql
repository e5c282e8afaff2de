-- target --
SELECT index_name, definition, seeded FROM es_targets WHERE table_name = $1

-- register --
INSERT INTO es_targets (table_name, index_name, definition) VALUES ($1, $2, $3)

-- waiting --
SELECT count(*) FROM es_outbox
WHERE table_name = $1 AND target = 'next' AND leased_until < 'infinity' AND version <= $2

-- behind --
SELECT pk, version, CASE WHEN leased_until = 'infinity' THEN coalesce(last_error, '') END AS refused FROM es_outbox
WHERE table_name = $1 AND target = 'next' AND pk = ANY($2::bigint[])

-- unregister --
DELETE FROM es_targets WHERE table_name = $1 AND index_name = $2 RETURNING index_name

-- rest --
DELETE FROM es_outbox WHERE table_name = $1 AND target = 'next' RETURNING pk
