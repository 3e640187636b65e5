package act

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/look"
	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
	"github.com/esper-lite/weatherlight/leyline"
)

// seedAct is one verb of an operator for a seed.
type seedAct struct {
	verb, short, long string
	order             order
}

var seedActs = []seedAct{
	{"cull", "Take a seed out of its network",
		"An embargo follows. One that was kept ends, and its trainer goes back\nto the model before it, later seeds included.",
		order{kind: leyline.CommandType_COMMAND_SEED, operation: leyline.SeedOperation_SEED_OP_CULL}},
	{"pause", "Take a seed out of the output until it is resumed", "It keeps its weights and its stage.",
		order{kind: leyline.CommandType_COMMAND_PAUSE}},
	{"resume", "Let a seed that was paused go on", "",
		order{kind: leyline.CommandType_COMMAND_PAUSE, annotations: map[string]string{"resume": "true"}}},
	{"fossilize", "Keep a seed for good, if it has earned it", "A seed on probation whose evidence does not hold is refused.",
		order{kind: leyline.CommandType_COMMAND_SEED, operation: leyline.SeedOperation_SEED_OP_FOSSILIZE}},
}

// Seeds are the verbs that act on a seed. complete offers runs and seeds.
func Seeds(bus Bus, complete cobra.CompletionFunc) (commands []*cobra.Command) {
	for _, act := range seedActs {
		var f flags
		command := &cobra.Command{
			Use: act.verb + " RUN SEED", Short: act.short, Long: strings.TrimSuffix(act.short+". "+act.long, " ") + "\n" + whatComesOfIt,
			Args: cobra.ExactArgs(2), ValidArgsFunction: complete,
			RunE: func(command *cobra.Command, args []string) error {
				o := act.order
				o.run, o.seed = args[0], args[1]
				return f.send(command.Context(), bus, o, command.OutOrStdout())
			},
		}
		f.bind(command)
		commands = append(commands, command)
	}
	return commands
}

const whatComesOfIt = "The command is signed with the secret of the bus, and stands in the feed with its reason and who sent it\n" +
	"(esperctl events --kind command). Exit 0 when Kasmina has taken it, 1 when it has refused it, 3 when nobody has\n" +
	"answered within --wait."

// modes are the levels of an emergency that an operator sets: a mild one lifts it.
var modes = map[string]leyline.EmergencyLevel{
	"conservative": leyline.EmergencyLevel_EMERGENCY_LEVEL_CONSERVATIVE,
	"normal":       leyline.EmergencyLevel_EMERGENCY_LEVEL_NOTICE,
}

func isMode(_ *cobra.Command, args []string) error {
	if _, is := modes[args[0]]; !is {
		return fmt.Errorf("%q is neither conservative nor normal", args[0])
	}
	return nil
}

func completeModes(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return slices.Sorted(maps.Keys(modes)), cobra.ShellCompDirectiveNoFileComp
}

// Mode has runs begin nothing new, or lifts that. complete offers runs and seeds.
func Mode(bus Bus, complete cobra.CompletionFunc) *cobra.Command {
	var f flags
	var run string
	command := &cobra.Command{
		Use: "mode conservative|normal", Short: "Have runs be conservative, or grow again",
		Long: "Has a run, or all runs that there are, be conservative: their seeds leave the output and none is begun.\n" +
			"\"normal\" lifts that, and any emergency. A run that begins later is not concerned.\n" + whatComesOfIt,
		Args: cobra.MatchAll(cobra.ExactArgs(1), isMode), ValidArgsFunction: completeModes,
		RunE: func(command *cobra.Command, args []string) error {
			o := order{
				run: run, kind: leyline.CommandType_COMMAND_EMERGENCY,
				annotations: map[string]string{"level": modes[args[0]].String()},
			}
			return f.send(command.Context(), bus, o, command.OutOrStdout())
		},
	}
	f.bind(command)
	command.Flags().StringVar(&run, "run", "", "only this run")
	runs := func(command *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		return complete(command, nil, begun)
	}
	_ = command.RegisterFlagCompletionFunc("run", runs) // it is there
	return command
}

// completeAlerts offers alerts, with the names of their rules.
func completeAlerts(command *cobra.Command, args []string, _ string) (ids []string, _ cobra.ShellCompDirective) {
	if service, err := nissa(); err == nil && len(args) == 0 {
		found, _ := look.Alerts(command.Context(), service) // nothing is offered when Nissa does not answer
		for _, a := range found {
			ids = append(ids, cobra.CompletionWithDesc(a.ID, a.Name))
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// alertOf is the alert of an id, or the only one whose id begins so.
func alertOf(command *cobra.Command, found []look.Raised, id string) (meant look.Raised, err error) {
	var ids []string
	for _, a := range found {
		if a.ID == id {
			return a, nil
		}
		if strings.HasPrefix(a.ID, id) {
			meant, ids = a, append(ids, a.ID)
		}
	}
	switch len(ids) {
	case 0:
		return meant, fmt.Errorf("no alert %q: esperctl alarms list shows their ids", id)
	case 1:
		return meant, nil
	default:
		return meant, terminal.Misused(command, fmt.Errorf("%q may be any of %s", id, strings.Join(ids, ", ")))
	}
}

func notBlank(_ *cobra.Command, args []string) error {
	if strings.TrimSpace(args[0]) == "" {
		return errors.New("the id is blank: esperctl alarms list shows them")
	}
	return nil
}

// AlarmsAck says that somebody has taken an alert up.
func AlarmsAck() *cobra.Command {
	var reason string
	command := &cobra.Command{
		Use: "ack ID", Short: "Say that you have taken an alert of Nissa's up: it is not told again while it fires",
		Long: "Says that you have taken an alert of Nissa's up, by its id in esperctl alarms list or the beginning of it: it is\n" +
			"not told again while it fires on. NISSA_HTTP_TOKEN must be set. Alarms of the service have no id: they end when\n" +
			"their cause does.",
		Args: cobra.MatchAll(cobra.ExactArgs(1), notBlank), ValidArgsFunction: completeAlerts,
		RunE: func(command *cobra.Command, args []string) error {
			service, err := nissa()
			if err != nil {
				return err
			}
			found, err := look.Alerts(command.Context(), service)
			if err != nil {
				return err
			}
			meant, err := alertOf(command, found, args[0])
			if err != nil {
				return err
			}
			var acknowledged any
			err = service.Post(command.Context(), "/api/alerts/"+url.PathEscape(meant.ID)+"/ack",
				map[string]string{"by": operator(), "comment": reason}, &acknowledged)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(command.OutOrStdout(), "%s is taken up by %s\n", meant.Name, operator())
			return err
		},
	}
	command.Flags().StringVar(&reason, "reason", "", "what is done about it")
	return command
}
