package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/config"
	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/dispatch"
	"github.com/postrider/postrider/internal/httpapi"
	"github.com/postrider/postrider/internal/store"
)

// leaveWait bounds how long the end of a node waits for the database to note it. The others see it from the end of its session too.
const leaveWait = 3 * time.Second

// node is this process among those that share the database.
type node struct {
	*store.Node
	dispatcher *dispatch.Dispatcher // nil with the role api
}

// delivers says whether this node empties the spool.
func (v *service) delivers() bool { return v.plan.settings.Role != config.RoleAPI }

// join makes this process known to the others, and prepares what empties the spool. It waits for a database that is away until ctx ends.
func (v *service) join(ctx context.Context, st *store.Store) (*node, error) {
	s := v.plan.settings
	cfg := store.NodeConfig{
		ID:   store.NewID(), // a new life: claims of the one before are somebody else's
		Name: cmp.Or(s.NodeName, s.Hostname, "localhost"), Role: store.NodeRole(s.Role), Version: versionText(),
		LockURL: s.LockDatabaseURL.Reveal(), Logger: v.logger,
	}
	member, err := v.untilThere(ctx, func() (*store.Node, error) { return st.Join(ctx, cfg) })
	if err != nil {
		return nil, err
	}
	n := &node{Node: member}
	if v.delivers() {
		if err = v.prepare(st, n); err != nil {
			return nil, errors.Join(err, n.leave())
		}
	}
	return n, v.watchNode(n)
}

// untilThere joins as soon as the database answers.
func (v *service) untilThere(ctx context.Context, join func() (*store.Node, error)) (*store.Node, error) {
	tick := time.NewTicker(storeRetry)
	defer tick.Stop()
	for told := false; ; told = true {
		member, err := join()
		if err == nil || !errors.Is(err, store.ErrUnavailable) {
			return member, err
		}
		if !told {
			v.logger.Warn("the database takes no session of this node; waiting for it", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-tick.C:
		}
	}
}

// prepare makes what empties the spool. Nothing is sent before run.
func (v *service) prepare(st *store.Store, n *node) error {
	dialer, err := v.plan.newEgress()
	if err != nil {
		return err
	}
	measured, err := newLaneMetrics(v.registry)
	if err != nil {
		return err
	}
	deliverer, err := delivery.New(delivery.Config{
		Store: st, Dial: dialer.DialContext, Unseal: v.plan.keys.unseal, Node: n.ID(), LocalName: v.plan.settings.Hostname,
		Observe: measured.observe, Now: st.Now, Logger: v.logger,
	})
	if err != nil {
		return err
	}
	n.dispatcher, err = dispatch.New(dispatch.Config{
		Store: st, Node: n.ID(), Unrecorded: deliverer.Unrecorded, MaxConcurrent: v.plan.settings.MaxConcurrentDeliveries,
		Lane: func(ctx context.Context, relay store.DeliveryRelay, held func() bool) dispatch.Lane {
			return deliverer.Relay(ctx, relay, held)
		},
		StopWithin: max(v.plan.settings.ShutdownTimeout, 1), Locks: n, Peers: n, Now: st.Now, Logger: v.logger,
	})
	if err == nil {
		measured.watch(n.dispatcher, deliverer)
	}
	return err
}

// run keeps this node among the others until work ends, and empties the spool until sending ends; then it finishes or gives back what
// it holds. What is accepted after that, while requests finish, is still announced to the others.
func (n *node) run(sending, work context.Context, v *service) (err error) {
	session, end := context.WithCancel(context.WithoutCancel(work))
	var group sync.WaitGroup
	group.Go(func() { // its faults are in the log, but for tables that this program cannot work with: then the service ends
		if err := n.Run(session); err != nil {
			select {
			case v.failed <- fmt.Errorf("node: %w", err):
			default: // something else failed first
			}
		}
	})
	defer func() {
		end()
		group.Wait()
		err = errors.Join(err, n.leave())
	}()
	if n.dispatcher != nil {
		v.logger.Info("delivering", "node", n.ID())
		if err := n.dispatcher.Run(sending); err != nil {
			return err
		}
	}
	<-work.Done()
	return nil
}

// leave tells the others that this node has ended. Twice is once.
func (n *node) leave() error {
	ctx, cancel := context.WithTimeout(context.Background(), leaveWait)
	defer cancel()
	n.Close(ctx)
	return nil
}

// ready is for httpapi.Config.Ready. A node that takes requests is ready without its session: others deliver what it accepts.
func (v *service) ready(ctx context.Context) []httpapi.NotReady {
	not := v.front.ready(ctx)
	if v.plan.settings.Role == config.RoleDelivery && !v.node.Held() {
		not = append(not, httpapi.NotReady{Part: "node", Detail: "its session with the database is lost, and with it the rights to deliver"})
	}
	return not
}
