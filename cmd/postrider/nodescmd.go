package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/internal/store"
)

// nodesCommand lists the processes that share the database.
type nodesCommand struct {
	JSON bool `group:"run" name:"json" help:"Print one object a line."`
	settingsFlags
}

// Help is the text between the command's summary and its flags.
func (*nodesCommand) Help() string {
	return "A node is working, stalled (not heard of for 15 s), gone (its session with the database has ended) or stopped (in good order). Those that ended are listed for an hour."
}

// Run lists the nodes, those that work first.
func (c *nodesCommand) Run(p *program) error {
	return c.with(p, func(i *installation) error {
		list, err := i.store.Operator().Nodes(p.ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			for _, n := range list {
				if err := json.NewEncoder(p.stdout).Encode(nodeOf(n)); err != nil {
					return err
				}
			}
			return nil
		}
		w := tabwriter.NewWriter(p.stdout, 2, 0, 2, ' ', 0)
		fmt.Fprintln(w, "NAME\tROLE\tSTATE\tHEARD\tSTARTED\tRELAYS\tVERSION\tID")
		for _, n := range list {
			heard := "-"
			if n.EndedAt.IsZero() {
				heard = max(0, i.store.Now().Sub(n.BeatAt)).Round(time.Second).String() + " ago"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", oneLine(n.Name), n.Role, n.State, heard, n.StartedAt.UTC().Format(time.RFC3339), len(n.Relays), oneLine(n.Version), n.ID)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		for _, n := range list {
			if len(n.Relays) > 0 {
				fmt.Fprintf(p.stdout, "\n%s drains\n  %s\n", oneLine(n.Name), strings.Join(nodeOf(n).Relays, "\n  "))
			}
		}
		return nil
	})
}

// nodeOf is a node as the API shows it.
func nodeOf(n store.NodeRecord) api.Node {
	v := api.Node{
		ID: n.ID.String(), Name: n.Name, Role: string(n.Role), Version: n.Version, State: string(n.State),
		StartedAt: n.StartedAt.UTC(), HeardAt: n.BeatAt.UTC(), Relays: make([]string, len(n.Relays)),
	}
	for i, id := range n.Relays {
		v.Relays[i] = id.String()
	}
	if !n.EndedAt.IsZero() {
		ended := n.EndedAt.UTC()
		v.EndedAt = &ended
	}
	return v
}
