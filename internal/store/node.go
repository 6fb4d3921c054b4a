package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// NodeRole is what a node does.
type NodeRole string

// The roles, in the words of the setting.
const (
	NodeAPI      NodeRole = "api"      // takes requests
	NodeDelivery NodeRole = "delivery" // empties the spool
	NodeAll      NodeRole = "all"      // both
)

func (r NodeRole) delivers() bool { return r == NodeDelivery || r == NodeAll }

const (
	nodeBeatEvery = 5 * time.Second
	// nodeFenceAfter leaves a node that was stopped and goes on 5 s less than its peers give it.
	nodeFenceAfter    = 10 * time.Second
	nodeEndAfter      = 15 * time.Second
	nodeTimeout       = 5 * time.Second
	nodeAnnounceEvery = 5 * time.Millisecond
	// nodeNameMax bounds what is shown of a node.
	nodeNameMax = 200
)

// NodeConfig configures Join.
type NodeConfig struct {
	// ID is the incarnation: a UUID made when the process starts, never used before. Required.
	ID uuid.UUID
	// Name is shown to the operator, such as the host's name. Required.
	Name string
	// Role is what the node does. Required.
	Role NodeRole
	// Version is the program's, as shown to the operator.
	Version string
	// LockURL is the PostgreSQL database for the one session that holds the node's rights and hears announcements. It must
	// lead to the server itself, past any pooler, with the same login on every node, since a login may only end its own
	// sessions. Empty: Config.DeliveryURL, or Config.URL. Of no meaning on SQLite.
	LockURL string
	// BeatEvery is how often the node shows the others that it works. 0: 5 s.
	BeatEvery time.Duration
	// FenceAfter is how old the last beat may be for the node to start anything: less than EndAfter by the time that a
	// send which was just started may need to come to its mark. 0: 10 s.
	FenceAfter time.Duration
	// EndAfter is how old a peer's last beat is, by the database's clock, when its session is ended and with it its
	// rights. All nodes must have the same. 0: 15 s.
	EndAfter time.Duration
	// Timeout bounds each statement of the session: one that takes longer means that the session is lost. 0: 5 s.
	Timeout time.Duration
	// AnnounceEvery is the least time between two announcements to the other nodes. 0: 5 ms.
	AnnounceEvery time.Duration
	// Logger hears when the session is lost and found, and when a peer is ended. Nil: nobody does.
	Logger *slog.Logger
}

func (cfg NodeConfig) withDefaults() (NodeConfig, error) {
	var faults []error
	if cfg.ID == uuid.Nil {
		faults = append(faults, errors.New("store: NodeConfig.ID is missing: a UUID made when the process starts"))
	}
	if cfg.Name == "" {
		faults = append(faults, errors.New("store: NodeConfig.Name is missing"))
	}
	if cfg.Role != NodeAPI && !cfg.Role.delivers() {
		faults = append(faults, fmt.Errorf("store: NodeConfig.Role is %q: it must be api, delivery or all", string(cfg.Role)))
	}
	cfg.BeatEvery, cfg.Timeout = cmp.Or(cfg.BeatEvery, nodeBeatEvery), cmp.Or(cfg.Timeout, nodeTimeout)
	cfg.FenceAfter, cfg.EndAfter = cmp.Or(cfg.FenceAfter, nodeFenceAfter), cmp.Or(cfg.EndAfter, nodeEndAfter)
	cfg.AnnounceEvery = cmp.Or(cfg.AnnounceEvery, nodeAnnounceEvery)
	if min(cfg.BeatEvery, cfg.Timeout, cfg.AnnounceEvery) < 0 || cfg.FenceAfter <= cfg.BeatEvery || cfg.EndAfter <= cfg.FenceAfter {
		faults = append(faults, errors.New("store: NodeConfig: the periods must be positive, BeatEvery < FenceAfter < EndAfter"))
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Logger = cfg.Logger.With("node", cfg.ID)
	cfg.Name, cfg.Version = oneLine(cfg.Name), oneLine(cfg.Version)
	return cfg, errors.Join(faults...)
}

func oneLine(s string) string { return cleanReply(strings.Join(strings.Fields(s), " "), nodeNameMax) }

// Node is this process among those that work with the database. On PostgreSQL it has one session of its own, to which the
// rights to drain relays belong: they end with it, whoever or whatever ends it. On SQLite there is one node that delivers, whose
// rights nobody contests.
//
// Its methods may be called at any time and at once. Without Run no beats are sent, and the peers end the session.
type Node struct {
	cfg NodeConfig
	s   *Store
	url string // of the session; empty on SQLite

	turn   baton   // for the session's connection
	assume string  // the role that the login takes on for rows; empty: none
	outbox *outbox // what the other nodes are to hear
	watch  *watch  // whether they live

	mu       sync.Mutex
	session  *session // nil while there is none
	lost     chan struct{}
	held     map[uuid.UUID]bool // relays whose right we have
	closed   bool
	peers    int
	sessions int // made so far

	beat atomic.Int64 // the tick at which the last beat that succeeded began; 0: there is no session
}

// Join makes the process known in the database, and on PostgreSQL opens its session. The error wraps ErrUnavailable if the
// database does not answer; others say what is wrong with the URL or the login. End it with Close.
func (s *Store) Join(ctx context.Context, cfg NodeConfig) (*Node, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, s: s, lost: make(chan struct{}), held: map[uuid.UUID]bool{}, peers: 1, outbox: newOutbox(), watch: newWatch()}
	if s.cfg.URL == "" {
		if err := n.beatAlone(ctx); err != nil {
			return nil, err
		}
	} else {
		n.url = cmp.Or(cfg.LockURL, s.cfg.DeliveryURL, s.cfg.URL)
		if err := n.connect(ctx); err != nil {
			return nil, err
		}
		s.node.Store(n)
	}
	// Once more, now that we are seen: a migration that takes away what we use looks for nodes after it has said so.
	if _, err := s.checkSchema(ctx); err != nil {
		n.Close(context.WithoutCancel(ctx))
		return nil, err
	}
	return n, nil
}

// ID is the incarnation.
func (n *Node) ID() uuid.UUID { return n.cfg.ID }

// alone says that there are no rights to ask for.
func (n *Node) alone() bool { return n.url == "" }

// Held says whether the rights that were given are ours still, as far as can be known without asking: there is a session, and
// its last beat began less than NodeConfig.FenceAfter ago. A process that was stopped, and whose peers may have ended its session
// meanwhile, finds it false when it goes on. It is quick: ask it before each thing that only the holder of a right may begin.
func (n *Node) Held() bool {
	if n.alone() {
		return true
	}
	beat := n.beat.Load()
	return beat != 0 && n.s.clock.ticks()-time.Duration(beat) < n.cfg.FenceAfter
}

// Lost is closed when all rights that were given so far are lost, since the session has ended. After that it returns another
// channel, for the rights that the next session will be given. Take it before TryLock, or a loss between the two is missed.
func (n *Node) Lost() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lost
}

// Peers is how many nodes deliver at the moment, this one included if it does: those whose session lived at our last beat. It
// is at least 1.
func (n *Node) Peers() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return max(1, n.peers)
}

// Drains is how many relays this node has the right to drain.
func (n *Node) Drains() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.held)
}

// Sessions is how many sessions the node has had: one more than it lost, when it has one.
func (n *Node) Sessions() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sessions
}
