package user

// Page is one page of a listing.
type Page struct {
	Users []*User
	More  bool // users follow this page
	// Total is how many users the filter finds, counted or estimated; nil when not asked for.
	Total        *int64
	TotalIsExact bool
}

// LogEntry is an event with its places in the event log.
type LogEntry struct {
	Event
	Seq int64  // grows with every change of one user
	XID uint64 // of the transaction; the feed is in the order of (XID, Seq)
}

// Place is a place in the change feed, between two events.
type Place struct {
	XID uint64
	Seq int64
}

// Place is the place just behind an event.
func (e *LogEntry) Place() Place { return Place{e.XID, e.Seq} }

// HistoryPage is a page of a user's history, newest first.
type HistoryPage struct {
	Entries []LogEntry
	Next    string // the cursor of the next page, empty on the last
}

// ChangesPage is a page of the change feed, oldest first.
type ChangesPage struct {
	Entries []LogEntry
	Next    string // where to go on: also on the last page, for what comes later
	More    bool   // there are probably more events at present
}
