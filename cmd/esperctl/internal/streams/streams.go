// Package streams has the commands that look at the bus itself. They read with commands that
// change nothing and join no group; what removes a group asks first whether somebody reads it.
package streams

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/admin"
)

// Bus joins the configured bus for one piece of work.
type Bus func(ctx context.Context, work func(*oona.Client) error) error

// New is the noun with its verbs: some look, and one acts.
func New(look, act Bus) *cobra.Command {
	streams := &cobra.Command{Use: "streams", Short: "Look at the streams of the bus and at who reads them"}
	groups := &cobra.Command{Use: "groups", Short: "Look after the consumer groups of a stream"}
	groups.AddCommand(newRemove(look, act))
	streams.AddCommand(newList(look), newShow(look), groups)
	return streams
}

func newList(bus Bus) *cobra.Command {
	var format terminal.Format
	command := &cobra.Command{
		Use: "list", Short: "List the streams: entries, groups, and how far the slowest is behind", Args: cobra.NoArgs,
		Long: "Lists the streams: entries, groups, and how many entries the slowest of the groups that are read has yet to read\n" +
			"or to finish, as esperctl status has it. A group that has something to\n" +
			"read, and that nobody has read for five minutes, holds up nobody: it is named.",
		RunE: func(command *cobra.Command, _ []string) error {
			return bus(command.Context(), func(client *oona.Client) error {
				found, err := client.Admin().Streams(command.Context())
				if err != nil {
					return err
				}
				return format.Print(command.OutOrStdout(), found, func(table io.Writer) { listTable(table, found) })
			})
		},
	}
	format.Bind(command)
	return command
}

func listTable(table io.Writer, streams []admin.StreamView) {
	terminal.Row(table, "STREAM", "ENTRIES", "GROUPS", "PENDING", "BEHIND", "SLOWEST GROUP")
	var idle []string
	for i := range streams {
		s := &streams[i]
		var pending int64
		for _, g := range s.Groups {
			if pending += g.Pending; !isRead(&g) && waits(s, &g) {
				idle = append(idle, g.Name+" on "+s.Name)
			}
		}
		behind, slowest := slowestOf(s.Groups)
		terminal.Row(table, s.Name, s.Entries, len(s.Groups), pending, count(behind), orDash(slowest))
	}
	if len(idle) > 0 {
		terminal.Row(table, "")
		terminal.Line(table, "nobody reads", "%s", strings.Join(idle, ", "))
	}
}

// readWithin is how lately a group was read that others have to wait for, as /status has it.
const readWithin = 5 * time.Minute

func isRead(g *admin.GroupView) bool {
	quiet, known := g.Silent()
	return known && quiet < readWithin
}

// waits says whether there is anything on a stream for a group. One that has read all there was,
// or whose stream is empty, is not known to be left by anybody.
func waits(s *admin.StreamView, g *admin.GroupView) bool {
	if g.Behind == nil {
		return g.Pending > 0 || s.Entries > 0
	}
	return g.Pending > 0 || *g.Behind > 0
}

// slowestOf is how much the slowest of the groups that are read has to read or to finish, and
// which that is; nil when the server does not tell of any.
func slowestOf(groups []admin.GroupView) (behind *int64, slowest string) {
	for i := range groups {
		g := &groups[i]
		if !isRead(g) {
			continue
		}
		if behind == nil {
			behind = new(int64)
		}
		unread := int64(0)
		if g.Behind != nil {
			unread = *g.Behind
		}
		if left := g.Pending + unread; left > *behind {
			*behind, slowest = left, g.Name
		}
	}
	return behind, slowest
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func count(n *int64) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprint(*n)
}

func newShow(bus Bus) *cobra.Command {
	var format terminal.Format
	command := &cobra.Command{
		Use: "show STREAM", Short: "Show one stream: its groups, what they have in hand, and their consumers", Args: cobra.ExactArgs(1),
		ValidArgsFunction: completeStreams(bus),
		RunE: func(command *cobra.Command, args []string) error {
			return bus(command.Context(), func(client *oona.Client) error {
				all, err := client.Admin().Streams(command.Context())
				if err != nil {
					return err
				}
				found, err := named(all, args[0])
				if err != nil {
					return err
				}
				return format.Print(command.OutOrStdout(), found, func(table io.Writer) { showTable(table, found) })
			})
		},
	}
	format.Bind(command)
	return command
}

func showTable(table io.Writer, s *admin.StreamView) {
	terminal.Row(table, fmt.Sprintf("%s: %d entries, last id %s", s.Name, s.Entries, s.LastID))
	terminal.Row(table, "")
	terminal.Row(table, "GROUP", "CONSUMER", "PENDING", "UNREAD", "IDLE")
	for i := range s.Groups {
		g := &s.Groups[i]
		idle := "never read"
		if quiet, known := g.Silent(); known {
			idle = quiet.Round(time.Millisecond).String()
		}
		terminal.Row(table, g.Name, "", g.Pending, count(g.Behind), idle)
		for _, c := range g.Consumers {
			terminal.Row(table, "", c.Name, c.Pending, "", c.Idle.Round(time.Millisecond))
		}
	}
}

// named is one stream, or says which there are.
func named(all []admin.StreamView, name string) (*admin.StreamView, error) {
	var names []string
	for i := range all {
		if all[i].Name == name {
			return &all[i], nil
		}
		names = append(names, all[i].Name)
	}
	if len(names) == 0 {
		return nil, errors.New("no stream is on this bus yet: start esper-weatherlight-service, which makes them")
	}
	return nil, fmt.Errorf("no stream %q on this bus: name one of %s", name, strings.Join(names, ", "))
}

// inUse is how lately a group was read that is not removed without --force.
const inUse = time.Minute

var errInUse = errors.New("a service that runs needs it: stop that first, or say --force")

// inUseAt says where a group is read: one that a service has, and has not read here, is
// read on other streams.
func inUseAt(streams []admin.StreamView, group string) error {
	for _, s := range streams {
		for i := range s.Groups {
			g := &s.Groups[i]
			if quiet, known := g.Silent(); g.Name == group && known && quiet < inUse {
				return fmt.Errorf("group %s was read on %s %s ago: %w", group, s.Name, quiet.Round(time.Millisecond), errInUse)
			}
		}
	}
	return nil
}

func newRemove(look, act Bus) *cobra.Command {
	var force bool
	command := &cobra.Command{
		Use: "remove STREAM GROUP", Short: "Remove a group that nobody reads any more, with what it has in hand",
		Long: "Removes a consumer group from a stream. What it had read and not finished is given up by it, and what it had\n" +
			"not read holds up no trimming any more. A group that was read on any stream within the last minute is a\n" +
			"service's that runs: it is kept, unless --force is said. Its readers would fail, or make it anew from the\n" +
			"beginning of the stream.",
		Args: cobra.ExactArgs(2), ValidArgsFunction: completeStreams(look),
		RunE: func(command *cobra.Command, args []string) error {
			return act(command.Context(), func(client *oona.Client) error {
				return remove(command.Context(), client, args[0], args[1], force, command.OutOrStdout())
			})
		},
	}
	command.Flags().BoolVar(&force, "force", false, "also one that a service reads")
	return command
}

func remove(ctx context.Context, client *oona.Client, stream, group string, force bool, out io.Writer) error {
	all, err := client.Admin().Streams(ctx)
	if err != nil {
		return err
	}
	found, err := named(all, stream)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(found.Groups, func(g admin.GroupView) bool { return g.Name == group })
	if at < 0 {
		var names []string
		for _, g := range found.Groups {
			names = append(names, g.Name)
		}
		return noGroup(group, stream, names)
	}
	g := &found.Groups[at]
	if err := inUseAt(all, group); err != nil && !force {
		return err
	}
	if err := client.Admin().RemoveGroup(ctx, group, stream); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "removed, with %d entries that it had in hand\n", g.Pending)
	return err
}

func noGroup(group, stream string, names []string) error {
	if len(names) == 0 {
		return fmt.Errorf("no group %q on %s: esperctl streams list shows which streams have any", group, stream)
	}
	return fmt.Errorf("no group %q on %s: name one of %s", group, stream, strings.Join(names, ", "))
}

// completeStreams offers streams, and then the groups of the stream.
func completeStreams(bus Bus) cobra.CompletionFunc {
	return func(command *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
		_ = bus(command.Context(), func(client *oona.Client) error { // nothing is offered when the bus does not answer
			found, err := client.Admin().Streams(command.Context())
			for _, s := range found {
				if len(args) == 0 {
					names = append(names, s.Name)
				} else if s.Name == args[0] {
					for _, g := range s.Groups {
						names = append(names, g.Name)
					}
				}
			}
			return err
		})
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
