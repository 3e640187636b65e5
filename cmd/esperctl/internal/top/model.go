package top

import (
	"cmp"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/look"
	"github.com/esper-lite/weatherlight/oona/admin"
)

// The panes, from the top of the screen.
const (
	runPane = iota
	seedPane
	streamPane
	alarmPane
	feedPane
	panes
)

// answer is what one of those that are asked said last. What it said stays when it goes away.
type answer[T any] struct {
	said  T
	heard bool      // said anything yet
	err   error     // of the last question
	at    time.Time // of the last answer
}

func (a *answer[T]) take(said T, err error, at time.Time) {
	a.err = err
	if err == nil {
		a.said, a.heard, a.at = said, true, at
	}
}

// What those that are asked say, and when.
type (
	fromService struct {
		said *look.Service
		err  error
		at   time.Time
	}
	fromNissa struct {
		said *look.Known
		err  error
		at   time.Time
	}
	fromBus struct {
		said []admin.StreamView
		err  error
		at   time.Time
	}
)

// pane is a table and how somebody looks at it.
type pane struct {
	table

	filter string
	by     int // the column that it is sorted by; -1 is as it is told
	turned bool
	chosen string // the id of a row
	place  int    // where that row was last
}

// model is all that the screen shows. It changes by Update alone, which asks nobody.
//
//nolint:recvcheck // Each message makes a new one; what helps with that changes the copy.
type model struct {
	width, height int
	colours       bool
	now           time.Time
	service       answer[*look.Service]
	nissa         answer[*look.Known]
	bus           answer[[]admin.StreamView]

	panes  [panes]pane
	focus  int
	typing bool // a filter
	open   bool // the row that is chosen is looked into
	top    int  // the first line that is shown of it
	ended  bool // by q, not by a signal
}

func newModel(colours bool, now time.Time) model {
	m := model{width: 80, height: 24, colours: colours, now: now}
	m.tellRuns()
	m.tellAlarms()
	m.panes[streamPane].table = streamTable(nil)
	for i := range m.panes {
		m.panes[i].by = -1
	}
	return m
}

// Init asks for nothing: who asks runs beside it.
func (model) Init() tea.Cmd { return nil }

// Update takes in what was said, or what somebody pressed.
func (m model) Update(message tea.Msg) (tea.Model, tea.Cmd) {
	switch message := message.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = message.Width, message.Height
	case fromService:
		m.now = message.at
		m.service.take(message.said, message.err, message.at)
		m.tellAlarms()
	case fromNissa:
		m.now = message.at
		m.nissa.take(message.said, message.err, message.at)
		m.tellRuns()
		m.tellAlarms()
	case fromBus:
		m.now = message.at
		m.bus.take(message.said, message.err, message.at)
		m.panes[streamPane].table = streamTable(m.bus.said)
	case tea.KeyPressMsg:
		return m.pressed(message)
	}
	return m, nil
}

func (m *model) tellRuns() {
	known := cmp.Or(m.nissa.said, &look.Known{})
	m.panes[runPane].table = runTable(m.now, known.Runs, known.Seeds)
	m.panes[seedPane].table = seedTable(m.now, known.Seeds, known.Events)
	m.panes[feedPane].table = feedTable(known.Events)
}

// tellAlarms has those of the service and those of Nissa's rules together.
func (m *model) tellAlarms() {
	var raised []look.Raised
	if m.service.heard {
		raised = m.service.said.Raised()
	}
	if m.nissa.heard {
		raised = slices.Concat(raised, m.nissa.said.Raised)
	}
	m.panes[alarmPane].table = alarmTable(m.now, raised)
}

// shown are the rows of a pane in their order, and which of them is chosen.
func (p *pane) shown() (rows []row, at int) {
	rows = p.matching(p.filter)
	order(rows, p.by, p.turned)
	at = slices.IndexFunc(rows, func(r row) bool { return r.id == p.chosen })
	if at < 0 || p.chosen == "" {
		at = min(p.place, max(len(rows)-1, 0)) // The one that was there is gone.
	}
	return rows, at
}

// move chooses another row.
func (p *pane) move(by int) {
	rows, at := p.shown()
	if len(rows) == 0 {
		return
	}
	p.place = min(max(at+by, 0), len(rows)-1)
	p.chosen = rows[p.place].id
}

func (m model) pressed(key tea.KeyPressMsg) (tea.Model, tea.Cmd) {
	if key.String() == "ctrl+c" {
		return m, tea.Quit
	}
	if m.typing {
		m.write(key)
		return m, nil
	}
	switch key.String() {
	case "q":
		m.ended = true
		return m, tea.Quit
	case "enter":
		rows, _ := m.panes[m.focus].shown()
		m.open, m.top = !m.open && len(rows) > 0, 0
	case "esc":
		if !m.open {
			m.panes[m.focus].filter = ""
		}
		m.open = false
	case "tab", "right", "l":
		m.focus, m.open = (m.focus+1)%panes, false
	case "shift+tab", "left", "h":
		m.focus, m.open = (m.focus+panes-1)%panes, false
	case "1", "2", "3", "4", "5":
		m.focus, m.open = int(key.String()[0]-'1'), false
	default:
		m.steer(key.String())
	}
	return m, nil
}

// far is further than any table is long.
const far = 1 << 30

// steer moves within what is looked at, or has it shown in another way.
func (m *model) steer(key string) {
	p := &m.panes[m.focus]
	page := max(m.height/2, 1)
	if by, moves := map[string]int{
		"up": -1, "k": -1, "down": 1, "j": 1, "pgup": -page, "pgdown": page, "home": -far, "g": -far, "end": far, "G": far,
	}[key]; moves {
		if m.open {
			m.top = max(m.top+by, 0)
		} else {
			p.move(by)
		}
		return
	}
	switch key {
	case "/":
		m.typing, m.open, p.filter = true, false, ""
	case "s":
		p.by++
		if p.by == len(p.columns) {
			p.by = -1
		}
	case "S":
		p.turned = !p.turned
	}
}

// write makes a filter longer or shorter.
func (m *model) write(key tea.KeyPressMsg) {
	p := &m.panes[m.focus]
	switch key.String() {
	case "enter":
		m.typing = false
	case "esc":
		m.typing, p.filter = false, ""
	case "backspace":
		if letters := []rune(p.filter); len(letters) > 0 {
			p.filter = string(letters[:len(letters)-1])
		}
	default:
		p.filter += key.Text
	}
}
