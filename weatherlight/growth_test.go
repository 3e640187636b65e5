package weatherlight

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tolaria/nothing"
	"github.com/esper-lite/weatherlight/trainer"
)
