package oona

import (
	_ "embed"

	"github.com/redis/rueidis"
)

//go:embed due.lua
var dueSource string

//go:embed save.lua
var saveSource string

//go:embed settle.lua
var settleSource string

//go:embed schedule.lua
var scheduleSource string

//go:embed claim.lua
var claimSource string

//go:embed reschedule.lua
var rescheduleSource string

//go:embed await.lua
var awaitSource string

// The scripts are immutable; EVALSHA falls back to EVAL after a restart of Redis.
var (
	saveScript       = rueidis.NewLuaScript(dueSource + saveSource)
	settleScript     = rueidis.NewLuaScript(settleSource)
	scheduleScript   = rueidis.NewLuaScript(dueSource + scheduleSource)
	claimScript      = rueidis.NewLuaScript(claimSource)
	rescheduleScript = rueidis.NewLuaScript(rescheduleSource)
	awaitScript      = rueidis.NewLuaScript(awaitSource)
)
