-- An index that is built beside the one that is searched: until it takes its place, every change goes to both.

CREATE TABLE IF NOT EXISTS es_targets (
    table_name TEXT PRIMARY KEY,         -- of the read model: one index of it is built at a time
    index_name TEXT NOT NULL,
    definition TEXT NOT NULL,            -- fingerprint
    seeded_to BIGINT NOT NULL DEFAULT -9223372036854775808, -- the rows up to this key are in the outbox
    seeded BOOLEAN NOT NULL DEFAULT false,                  -- all rows are
    started_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- 'live' is the index that is searched, 'next' the one that is built; the order of the two is that of the work.
ALTER TABLE es_outbox ADD COLUMN IF NOT EXISTS target TEXT NOT NULL DEFAULT 'live';
ALTER TABLE es_outbox DROP CONSTRAINT IF EXISTS es_outbox_pkey;
ALTER TABLE es_outbox ADD PRIMARY KEY (table_name, pk, target);
DROP INDEX IF EXISTS es_outbox_version;
CREATE INDEX IF NOT EXISTS es_outbox_order ON es_outbox (target, leased_until, version, table_name);

-- As if rows had just changed: an entry for each in every target of their table. The version of an existing entry is
-- drawn again under its lock, so it only grows. SECURITY DEFINER: whoever writes a read model needs no right on the
-- outbox. Sorted, so that two who enter the same rows do not wait for each other.
CREATE OR REPLACE FUNCTION es_outbox_enter(of_table TEXT, keys BIGINT[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO es_outbox AS o (table_name, pk, target, version)
    SELECT of_table, changed.pk, targets.target, nextval('es_version')
    FROM (SELECT DISTINCT unnest(keys) AS pk ORDER BY pk) AS changed
    CROSS JOIN (SELECT 'live' UNION ALL SELECT 'next' FROM es_targets WHERE table_name = of_table) AS targets (target)
    WHERE changed.pk IS NOT NULL
    ON CONFLICT (table_name, pk, target) DO UPDATE
    SET version = nextval('es_version'), leased_until = '-infinity', attempts = 0, last_error = NULL;
    PERFORM pg_notify('es_outbox', '');
END
$$;

CREATE OR REPLACE FUNCTION es_outbox_put() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    before BIGINT;
    after BIGINT;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        NEW.revision := OLD.revision; -- a new revision alone changes no document
        IF NEW IS NOT DISTINCT FROM OLD THEN
            RETURN NULL;
        END IF;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        EXECUTE format('SELECT ($1).%I', TG_ARGV[0]) INTO before USING OLD;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        EXECUTE format('SELECT ($1).%I', TG_ARGV[0]) INTO after USING NEW;
    END IF;
    PERFORM es_outbox_enter(TG_TABLE_NAME, ARRAY[before, after]);
    RETURN NULL;
END
$$;

-- TRUNCATE fires no trigger of rows: while the keys are still there, all of them are entered.
CREATE OR REPLACE FUNCTION es_outbox_put_all() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    keys BIGINT[];
BEGIN
    EXECUTE format('SELECT array_agg(%I) FROM %s', TG_ARGV[0], TG_RELID::regclass) INTO keys;
    PERFORM es_outbox_enter(TG_TABLE_NAME, keys);
    RETURN NULL;
END
$$;
DO $$
DECLARE
    model TEXT;
    key TEXT;
BEGIN
    FOR model, key IN
        VALUES ('read_model_media_search', 'media_id'), ('read_model_post_search', 'post_id'),
            ('read_model_user_search', 'user_id'), ('read_model_face_search', 'id'),
            ('read_model_recommendations_knn', 'media_id'), ('read_model_feed_personalized', 'id'),
            ('read_model_known_faces', 'user_id')
    LOOP
        EXECUTE format(
            'CREATE OR REPLACE TRIGGER es_outbox_truncate BEFORE TRUNCATE ON %I '
            'FOR EACH STATEMENT EXECUTE FUNCTION es_outbox_put_all(%L)', model, key
        );
    END LOOP;
END
$$;

-- Rows that the backend told of, to be looked at again: one that is not there yet may come, one that is not gone yet
-- may go, and where the backend's tables have no triggers one that is there may still change.
CREATE TABLE IF NOT EXISTS es_hints (
    table_name TEXT NOT NULL,
    pk BIGINT NOT NULL,
    bulk BOOLEAN NOT NULL,               -- pk is a post, all its rows are meant
    wanted BOOLEAN NOT NULL,             -- there should be a row; else it should be gone
    again BOOLEAN NOT NULL,              -- read it again though it is there
    since TIMESTAMPTZ NOT NULL DEFAULT now(),
    looks INTEGER NOT NULL DEFAULT 0,
    next_look TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (table_name, pk, bulk)
);
CREATE INDEX IF NOT EXISTS es_hints_due ON es_hints (next_look);
