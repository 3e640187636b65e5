// Package settings reads the configuration of the Esper-Lite services: the
// process environment first, then a .env file in the working directory, then
// the defaults. Names, units and defaults are those of the Python prototype,
// so that one .env file serves both.
//
// It is the only package that knows the names of environment variables. The
// services translate the groups of [Settings] into the small Config of each
// part, and no part reads the environment itself.
//
// All faults of a configuration are reported together, by name, as [*Faults].
// The secret and the passwords inside URLs never reach a log: [Secret] and
// [URL] print masked through every verb of fmt, slog and encoding/json.
package settings
