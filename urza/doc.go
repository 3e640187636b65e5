// Package urza is the kernel library: it stores compiled kernels, finds them
// again, and answers the bus's kernel requests. A Library holds them, a Record is what it
// knows of one, and a Prefetcher answers requests from it. The service calls all three,
// and esperctl the Library.
//
// What memory holds of a kernel, and what was found of its artifact, is decided here:
// lookup, cache and verifier share it. Everything else is a room below internal, which
// knows nothing of the others' affairs: catalogue has the rows and all of the SQL,
// artifact the files and objects, metadata the text that a row holds beside its columns,
// retention what is removed, recovery what the prototype left unfinished.
//
// Truth lives in two places. The catalogue is the Python prototype's table
// "blueprints", read and written in its own form, so that both programs can share
// one database: a SQLite file, or PostgreSQL when several machines share it. The
// artifacts are files named by the SHA-256 of their content, in a folder or in an
// S3-compatible store. A save makes the artifact durable first and the row second,
// so a crash leaves at worst an artifact that nobody refers to. A save that the
// prototype died in is brought to its end at the next start.
//
// Memory is only a view of that truth: it is revalidated against the database,
// it expires, and nothing it does ever deletes a row or a file. A file whose
// content is not what the row says is set aside in a quarantine folder, its row
// stays, and requests for it are refused until a new save heals it. Scrub
// looks for such files before anybody asks. Only Prune removes artifacts: those of
// variants that made room, were replaced or found no room, and others only with a
// retention.
//
// An operator may set a blueprint aside or approve its artifact, and artifacts may
// be signed. A kernel that is there but not for use (set aside, not approved where
// that is required, not signed by a trusted key) is answered like one that is not
// there, missing_artifact: to a seed that is the same, and checksum_mismatch keeps
// meaning damage. Beside the prototype's table the library keeps tables of its own
// for these matters, all named urza_.
package urza
