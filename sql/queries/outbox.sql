-- lease --
-- Short, and it holds no lock while the documents travel: writers never wait for Elasticsearch. The index that is
-- searched comes before the one that is built, and what has just changed before what is tried again.
WITH live AS (
    SELECT table_name, pk, target FROM es_outbox
    WHERE target = 'live' AND leased_until <= now() AND table_name = ANY($2::text[])
    ORDER BY leased_until, version LIMIT $1 FOR UPDATE SKIP LOCKED
), next AS (
    SELECT table_name, pk, target FROM es_outbox
    WHERE target = 'next' AND leased_until <= now() AND table_name = ANY($3::text[])
    ORDER BY leased_until, version LIMIT $1 - (SELECT count(*) FROM live) FOR UPDATE SKIP LOCKED
)
UPDATE es_outbox o
SET leased_until = now() + $4::interval, attempts = o.attempts + 1
FROM (SELECT * FROM live UNION ALL SELECT * FROM next) AS due
WHERE o.table_name = due.table_name AND o.pk = due.pk AND o.target = due.target
RETURNING o.table_name, o.pk, o.target, o.version, o.attempts

-- done --
-- An entry that a writer holds is about to get another version: skipped, not waited for.
DELETE FROM es_outbox o
USING (
    SELECT e.table_name, e.pk, e.target
    FROM es_outbox e
    JOIN unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[]) AS sent (table_name, pk, target, version)
        ON e.table_name = sent.table_name AND e.pk = sent.pk AND e.target = sent.target AND e.version = sent.version
    FOR UPDATE OF e SKIP LOCKED
) AS done
WHERE o.table_name = done.table_name AND o.pk = done.pk AND o.target = done.target

-- again --
UPDATE es_outbox o
SET leased_until = CASE WHEN later.wait = 'infinity' THEN 'infinity' ELSE now() + later.wait * interval '1 second' END,
    last_error = later.error
FROM (
    SELECT e.table_name, e.pk, e.target, wait, error
    FROM es_outbox e
    JOIN unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::float[], $6::text[])
        AS failed (table_name, pk, target, version, wait, error)
        ON e.table_name = failed.table_name AND e.pk = failed.pk AND e.target = failed.target
            AND e.version = failed.version
    FOR UPDATE OF e SKIP LOCKED
) AS later
WHERE o.table_name = later.table_name AND o.pk = later.pk AND o.target = later.target

-- newer --
-- The index has a newer version than was drawn for the row: another one is drawn, and the row is read once more.
UPDATE es_outbox o
SET version = nextval('es_version'), last_error = stale.error,
    leased_until = CASE WHEN stale.wait = 0 THEN '-infinity' ELSE now() + stale.wait * interval '1 second' END
FROM (
    SELECT e.table_name, e.pk, e.target, wait, error
    FROM es_outbox e
    JOIN unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::float[], $6::text[])
        AS sent (table_name, pk, target, version, wait, error)
        ON e.table_name = sent.table_name AND e.pk = sent.pk AND e.target = sent.target AND e.version = sent.version
    FOR UPDATE OF e SKIP LOCKED
) AS stale
WHERE o.table_name = stale.table_name AND o.pk = stale.pk AND o.target = stale.target

-- orphans --
-- Those of an index that nobody builds any more.
DELETE FROM es_outbox o
USING unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[]) AS sent (table_name, pk, target, version)
WHERE o.table_name = sent.table_name AND o.pk = sent.pk AND o.target = sent.target AND o.version = sent.version
    AND o.target = 'next' AND NOT EXISTS (SELECT FROM es_targets t WHERE t.table_name = o.table_name)
RETURNING o.table_name, o.pk

-- enter --
-- As if the rows had just changed: read again, sent again, and deleted there where they are gone here.
SELECT es_outbox_enter($1, $2::bigint[])
