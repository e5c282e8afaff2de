-- Every change of a read model, whoever made it, leaves an entry here in the same transaction. An entry says only
-- "this row is newer than its document"; the indexer reads the row itself.

CREATE SEQUENCE IF NOT EXISTS es_version;

CREATE TABLE IF NOT EXISTS es_outbox (
    table_name TEXT NOT NULL,
    pk BIGINT NOT NULL,
    version BIGINT NOT NULL,                               -- of the document, external
    leased_until TIMESTAMPTZ NOT NULL DEFAULT '-infinity', -- nobody else takes it before
    attempts INTEGER NOT NULL DEFAULT 0,
    last_error TEXT,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),         -- waiting since
    PRIMARY KEY (table_name, pk)
);
CREATE INDEX IF NOT EXISTS es_outbox_version ON es_outbox (version);

-- SECURITY DEFINER: the backend's role needs no right on the outbox to write its read models.
-- TG_ARGV[0] is the table's primary key.
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
    -- The version of an existing entry is drawn again under its lock, so it only grows.
    INSERT INTO es_outbox AS o (table_name, pk, version)
    SELECT TG_TABLE_NAME, changed, nextval('es_version')
    FROM (SELECT before WHERE before IS DISTINCT FROM after UNION ALL SELECT after) AS rows (changed)
    WHERE changed IS NOT NULL
    ON CONFLICT (table_name, pk) DO UPDATE
    SET version = nextval('es_version'), leased_until = '-infinity', attempts = 0, last_error = NULL;
    PERFORM pg_notify('es_outbox', '');
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER es_outbox AFTER INSERT OR UPDATE OR DELETE ON read_model_media_search
FOR EACH ROW EXECUTE FUNCTION es_outbox_put('media_id');

CREATE OR REPLACE TRIGGER es_outbox AFTER INSERT OR UPDATE OR DELETE ON read_model_post_search
FOR EACH ROW EXECUTE FUNCTION es_outbox_put('post_id');

-- Rows that were there before the trigger.
INSERT INTO es_outbox (table_name, pk, version)
SELECT 'read_model_media_search', media_id, nextval('es_version') FROM read_model_media_search
UNION ALL
SELECT 'read_model_post_search', post_id, nextval('es_version') FROM read_model_post_search
ON CONFLICT DO NOTHING;
