-- Format 1. docs/formats.md says what each column means and what authenticates it.

CREATE TABLE system (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    instance BLOB NOT NULL,
    gmk BLOB NOT NULL,
    wrapping TEXT NOT NULL,
    canary BLOB NOT NULL,
    row_key BLOB NOT NULL,
    journal_key BLOB NOT NULL,
    journal_public_key BLOB NOT NULL,
    token_label TEXT NOT NULL,
    token_serial TEXT NOT NULL,
    created INTEGER NOT NULL,
    tag BLOB NOT NULL
) STRICT;

CREATE TABLE head (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    change INTEGER NOT NULL
) STRICT;

CREATE TABLE "group" (
    name TEXT PRIMARY KEY,
    business_group TEXT NOT NULL,
    environment TEXT NOT NULL,
    description TEXT NOT NULL,
    labels TEXT NOT NULL,
    cache_seconds INTEGER,
    cache_uses INTEGER,
    cache_outage_seconds INTEGER,
    holders TEXT NOT NULL,
    keeping TEXT NOT NULL,
    created INTEGER NOT NULL,
    created_by INTEGER NOT NULL,
    change INTEGER NOT NULL,
    tag BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE master_key (
    "group" TEXT NOT NULL REFERENCES "group" (name),
    generation INTEGER NOT NULL,
    id BLOB NOT NULL UNIQUE,
    state TEXT NOT NULL,
    emptied INTEGER,
    doom INTEGER,
    wrapping TEXT NOT NULL,
    canary BLOB NOT NULL,
    token_label TEXT NOT NULL,
    token_serial TEXT NOT NULL,
    root BLOB,
    root_wrapping TEXT,
    wrapped BLOB,
    reserved INTEGER NOT NULL,
    created INTEGER NOT NULL,
    change INTEGER NOT NULL,
    tag BLOB NOT NULL,
    PRIMARY KEY ("group", generation, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE secret (
    "group" TEXT NOT NULL REFERENCES "group" (name),
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    current INTEGER,
    previous INTEGER,
    pending INTEGER,
    keep INTEGER,
    description TEXT NOT NULL,
    labels TEXT NOT NULL,
    created INTEGER NOT NULL,
    created_by INTEGER NOT NULL,
    change INTEGER NOT NULL,
    tag BLOB NOT NULL,
    PRIMARY KEY ("group", name)
) STRICT, WITHOUT ROWID;

CREATE TABLE version (
    "group" TEXT NOT NULL,
    name TEXT NOT NULL,
    number INTEGER NOT NULL,
    size INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    dek_generation INTEGER NOT NULL,
    exposed INTEGER,
    fingerprint BLOB NOT NULL,
    properties TEXT NOT NULL,
    state TEXT NOT NULL,
    doom INTEGER,
    valid_until INTEGER,
    created INTEGER NOT NULL,
    created_by INTEGER NOT NULL,
    change INTEGER NOT NULL,
    tag BLOB NOT NULL,
    PRIMARY KEY ("group", name, number),
    FOREIGN KEY ("group", name) REFERENCES secret ("group", name)
) STRICT, WITHOUT ROWID;

CREATE TABLE wrap (
    "group" TEXT NOT NULL,
    name TEXT NOT NULL,
    number INTEGER NOT NULL,
    gmk BLOB NOT NULL REFERENCES master_key (id),
    wrapped BLOB NOT NULL,
    change INTEGER NOT NULL,
    tag BLOB NOT NULL,
    PRIMARY KEY ("group", name, number, gmk),
    FOREIGN KEY ("group", name, number) REFERENCES version ("group", name, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX wrap_by_gmk ON wrap (gmk);

CREATE TABLE content (
    id INTEGER PRIMARY KEY,
    "group" TEXT NOT NULL,
    name TEXT NOT NULL,
    number INTEGER NOT NULL,
    nonce BLOB NOT NULL,
    ciphertext BLOB NOT NULL,
    UNIQUE ("group", name, number),
    FOREIGN KEY ("group", name, number)
        REFERENCES version ("group", name, number) ON DELETE CASCADE
) STRICT;

CREATE TABLE "grant" (
    id BLOB PRIMARY KEY,
    "group" TEXT NOT NULL REFERENCES "group" (name),
    patterns TEXT NOT NULL,
    selectors TEXT NOT NULL,
    terms TEXT NOT NULL,
    created INTEGER NOT NULL,
    created_by INTEGER NOT NULL,
    change INTEGER NOT NULL,
    tag BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE compliance (
    "group" TEXT PRIMARY KEY REFERENCES "group" (name),
    rules TEXT NOT NULL,
    "set" INTEGER NOT NULL,
    set_by INTEGER NOT NULL,
    change INTEGER NOT NULL,
    tag BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE trustee (
    label TEXT NOT NULL,
    serial TEXT NOT NULL,
    gmk BLOB NOT NULL,
    wrapping TEXT NOT NULL,
    canary BLOB NOT NULL,
    row_key BLOB NOT NULL,
    journal_key BLOB NOT NULL,
    journal_public_key BLOB NOT NULL,
    voucher TEXT,
    joined INTEGER NOT NULL,
    lost INTEGER,
    change INTEGER NOT NULL,
    tag BLOB NOT NULL,
    PRIMARY KEY (label, serial)
) STRICT, WITHOUT ROWID;

CREATE TABLE role (
    id BLOB PRIMARY KEY,
    role TEXT NOT NULL,
    "group" TEXT REFERENCES "group" (name),
    selectors TEXT NOT NULL,
    created INTEGER NOT NULL,
    created_by INTEGER,
    change INTEGER NOT NULL,
    tag BLOB NOT NULL
) STRICT, WITHOUT ROWID;
