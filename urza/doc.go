// Package urza is the kernel library: it stores compiled kernels, finds them
// again, and answers the bus's kernel requests.
//
// Truth lives in two places. The catalogue is the Python prototype's SQLite
// table "blueprints", read and written in its own form, so that both programs
// can share one file. The artifacts are files named by the SHA-256 of their
// content. A save makes the file durable first and the row second, so a crash
// leaves at worst a file that nobody refers to.
//
// Memory is only a view of that truth: it is revalidated against the database,
// it expires, and nothing it does ever deletes a row or a file. A file whose
// content is not what the row says is set aside in a quarantine folder, its row
// stays, and requests for it are refused until a new save heals it.
package urza
