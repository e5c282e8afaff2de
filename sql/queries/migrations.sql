-- drop_bad_vectors --
-- Before a column of vectors that a backend keeps as text becomes one of vectors: one text that is no vector of the
-- width would stop it. What has no vector then says so; where a row must have one, somebody has to decide.
DO $$
DECLARE
    vectors RECORD;
    stored RECORD;
    dims INTEGER;
    bad BIGINT[];
BEGIN
    FOR vectors IN
        SELECT v.*, attnotnull
        FROM (VALUES
            ('read_model_media_search', 'media_id', 'image_embedding', 512),
            ('read_model_recommendations_knn', 'media_id', 'image_embedding', 512),
            ('read_model_face_search', 'id', 'face_embedding', 1024),
            ('read_model_known_faces', 'user_id', 'face_embedding', 1024)
        ) AS v (model, key, name, width)
        JOIN pg_attribute ON attrelid = to_regclass(model) AND attname = name
            AND atttypid IN ('text'::regtype, 'varchar'::regtype)
    LOOP
        CREATE EXTENSION IF NOT EXISTS vector;
        bad := '{}';
        FOR stored IN EXECUTE format('SELECT %I AS pk, %I AS text FROM %I WHERE %2$I IS NOT NULL ORDER BY 1',
            vectors.key, vectors.name, vectors.model)
        LOOP
            BEGIN
                -- Not planned before the extension is there.
                EXECUTE 'SELECT vector_dims($1::vector)' INTO dims USING stored.text;
            EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
                dims := 0;
            END;
            IF dims <> vectors.width THEN
                bad := bad || stored.pk;
            END IF;
        END LOOP;
        CONTINUE WHEN bad = '{}';
        IF vectors.attnotnull THEN
            RAISE EXCEPTION '%.% is no vector of % numbers in the rows with % %', vectors.model, vectors.name,
                vectors.width, vectors.key, array_to_string(bad, ', ')
                USING HINT = 'The column is NOT NULL: mend or delete these rows, then migrate again.';
        END IF;
        EXECUTE format('UPDATE %I SET %I = NULL WHERE %I = ANY($1)', vectors.model, vectors.name, vectors.key)
            USING bad;
        RAISE WARNING '% rows of % had no vector of % numbers in %, which is NULL there now: % %',
            cardinality(bad), vectors.model, vectors.width, vectors.name, vectors.key, array_to_string(bad, ', ');
    END LOOP;
END
$$
