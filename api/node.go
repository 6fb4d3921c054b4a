package api

import "time"

// Node is a process of the service, as the operator sees it.
type Node struct {
	ID      string `json:"id" format:"uuid" doc:"Of this process: a restart makes another."`
	Name    string `json:"name"`
	Role    string `json:"role" enum:"api,delivery,all"`
	Version string `json:"version"`
	State   string `json:"state" enum:"working,stalled,gone,stopped" doc:"stalled: not heard of for 15 s; gone: its session with the database has ended; stopped: in good order."`

	StartedAt time.Time  `json:"started_at"`
	HeardAt   time.Time  `json:"heard_at" doc:"By the database's clock."`
	EndedAt   *time.Time `json:"ended_at,omitempty"`
	Relays    []string   `json:"relays" doc:"The ids of the relays that it drains."`
}

// Nodes are those that work, and those that ended within the last hour.
type Nodes struct {
	Data []Node `json:"data"`
}
