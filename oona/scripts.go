package oona

import (
	_ "embed"

	"github.com/redis/rueidis"
)

//go:embed commit.lua
var commitSource string

//go:embed lag.lua
var lagSource string

//go:embed replaydead.lua
var replaySource string

//go:embed prune.lua
var pruneSource string

// The scripts are immutable; EVALSHA falls back to EVAL after a restart of Redis.
var (
	commitScript = rueidis.NewLuaScript(commitSource)
	lagScript    = rueidis.NewLuaScript(lagSource)
	pruneScript  = rueidis.NewLuaScript(pruneSource)
	replayScript = rueidis.NewLuaScript(replaySource)
)
