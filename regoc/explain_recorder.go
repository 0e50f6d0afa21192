// Events of OPA's tracer in; rules with their conditions as the author wrote them out. The compiler splits a
// condition into several expressions, each of which still knows the place it was made from. Bounded: a policy
// that loops fills the record, not the memory.
//
//go:build js && wasm

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

const (
	maxRulesSeen = 400
	maxFailures  = 4
	maxReads     = 24
	maxUntried   = 400
)

// ruleSeen is one rule, entered once per set of arguments.
type ruleSeen struct {
	Rule string `json:"rule"`
	// Key is the member that a rule of the form `contains` adds, where that is a constant.
	Key         string           `json:"key"`
	File        string           `json:"file"`
	Line        int              `json:"line"`
	Column      int              `json:"column"`
	Title       string           `json:"title"`
	Description string           `json:"description"`
	Arguments   []read           `json:"arguments"`
	Holds       bool             `json:"holds"`
	Conditions  []*conditionSeen `json:"conditions"`

	compiled *ast.Rule
	locals   *ast.ValueMap
}

// conditionSeen is one condition of a rule's body, or a value of its head that had to be found.
type conditionSeen struct {
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Text   string `json:"text"`
	// Outcome is "true", "false" or "unknown".
	Outcome string `json:"outcome"`
	// Failures are the values of each failed attempt; Reads those of the last attempt, failed or not.
	Failures  [][]read `json:"failures"`
	Reads     []read   `json:"reads"`
	Constants []any    `json:"constants"`

	offset, end int
	exprs       []*ast.Expr
	tried       map[string]bool
}

// read is one value a condition looked at.
type read struct {
	// Name is as the author would write it: input.request.verb, data.profiles["a"].verbs, grant.actions.
	Name string `json:"name"`
	// Path starts with input, data or the name of a variable.
	Path []any `json:"path"`
	// Value is absent when undefined or too long to show.
	Value   any  `json:"value"`
	Defined bool `json:"defined"`
	// Lacks is the step of an undefined Path that is not there, else 0.
	Lacks int  `json:"lacks"`
	Shown bool `json:"shown"`
	// Within: not this value, but some members of it were looked at.
	Within bool `json:"within"`
}

// untried is a condition behind a failed one, with what its variables were.
type untried struct {
	condition *conditionSeen
	body      ast.Body
	reads     []read
}

type decisionRecorder struct {
	compiler *ast.Compiler
	input    ast.Value
	data     ast.Value
	bodies   map[string][]*ast.Expr
	owners   map[uint64]*ruleSeen
	own      map[uint64]*ruleSeen
	entered  []*ruleSeen
	queue    []*untried
	trying   *untried
	full     bool

	// Looked at while events come: a timer of Go's would wait for an event loop that the evaluation blocks.
	deadline time.Time
	events   int
	cancel   topdown.Cancel
}

func newDecisionRecorder(compiler *ast.Compiler, written map[string]*ast.Module, input ast.Value, data any) *decisionRecorder {
	base, err := ast.InterfaceToValue(data)
	if err != nil {
		base = ast.NewObject()
	}
	r := &decisionRecorder{
		compiler: compiler, input: input, data: base, bodies: map[string][]*ast.Expr{},
		deadline: time.Now().Add(explainTimeout), cancel: topdown.NewCancel(),
	}
	for _, module := range written {
		for _, rule := range module.Rules {
			for ; rule != nil; rule = rule.Else {
				r.bodies[placeOf(rule.Loc())] = rule.Body
			}
		}
	}
	r.begin(nil)
	return r
}

// begin starts a new evaluation; ids of queries are unique only within one.
func (r *decisionRecorder) begin(trying *untried) {
	r.trying = trying
	r.owners, r.own = map[uint64]*ruleSeen{}, map[uint64]*ruleSeen{}
}

// Enabled is always so.
func (*decisionRecorder) Enabled() bool { return true }

// Config asks for the values of local variables.
func (*decisionRecorder) Config() topdown.TraceConfig {
	return topdown.TraceConfig{PlugLocalVars: true}
}

// TraceEvent follows rules in and out, and conditions to their end.
func (r *decisionRecorder) TraceEvent(event topdown.Event) {
	if r.events++; r.events%1024 == 0 && time.Now().After(r.deadline) {
		r.full = true
		r.cancel.Cancel()
	}
	switch node := event.Node.(type) {
	case *ast.Rule:
		switch event.Op {
		case topdown.EnterOp:
			r.enter(event.QueryID, node)
		case topdown.ExitOp:
			if rule := r.own[event.QueryID]; rule != nil {
				rule.Holds = true
			}
		}
	case *ast.Expr:
		if event.Op == topdown.EvalOp || event.Op == topdown.FailOp {
			r.look(event, node)
		}
	}
}

func (r *decisionRecorder) enter(query uint64, node *ast.Rule) {
	if len(r.entered) >= maxRulesSeen {
		r.full = true
		r.own[query], r.owners[query] = nil, nil
		return
	}
	at := node.Loc()
	title, description := titled(r.compiler, node)
	rule := &ruleSeen{
		Rule: node.Ref().GroundPrefix().String(), File: at.File, Line: at.Row, Column: at.Col,
		Title: title, Description: description,
		Arguments: []read{}, Conditions: []*conditionSeen{}, compiled: node,
	}
	if key := node.Head.Key; key != nil && ast.IsConstant(key.Value) {
		rule.Key = key.String()
	}
	for _, expr := range r.bodies[placeOf(at)] {
		rule.Conditions = append(rule.Conditions, newCondition(expr.Loc(), constants(expr)))
	}
	for _, expr := range node.Body {
		if condition := rule.at(expr.Loc()); condition != nil {
			condition.exprs = append(condition.exprs, expr)
		}
	}
	r.entered = append(r.entered, rule)
	r.own[query], r.owners[query] = rule, rule
}

func placeOf(at *ast.Location) string {
	return fmt.Sprintf("%s:%d:%d", at.File, at.Row, at.Col)
}

func newCondition(at *ast.Location, written []any) *conditionSeen {
	return &conditionSeen{
		Line: at.Row, Column: at.Col, Text: string(at.Text), Outcome: "unknown",
		Failures: [][]read{}, Reads: []read{}, Constants: written,
		offset: at.Offset, end: at.Offset + len(at.Text), tried: map[string]bool{},
	}
}

// at is the condition that an expression at a place was made from.
func (s *ruleSeen) at(place *ast.Location) *conditionSeen {
	if place == nil {
		return nil
	}
	for _, condition := range s.Conditions {
		if place.Offset >= condition.offset && place.Offset < max(condition.end, condition.offset+1) {
			return condition
		}
	}
	// The head's own values are found after the body, by expressions of the compiler's making.
	condition := newCondition(place, []any{})
	s.Conditions = append(s.Conditions, condition)
	return condition
}

func (r *decisionRecorder) look(event topdown.Event, expr *ast.Expr) {
	rule, known := r.owners[event.QueryID]
	if !known {
		rule = r.owners[event.ParentID]
		r.owners[event.QueryID] = rule
	}
	if rule == nil {
		if r.trying != nil {
			r.trying.condition.add(r.reads([]*ast.Expr{expr}, event)...)
		}
		return
	}
	condition := rule.at(event.Location)
	if condition == nil {
		return
	}
	own := r.own[event.QueryID] == rule
	if own && event.Op == topdown.EvalOp && len(condition.exprs) > 0 && condition.exprs[0] == expr {
		condition.Reads = []read{}
	}
	if own && rule.locals == nil {
		rule.locals = event.Locals
		rule.Arguments = r.arguments(rule.compiled, event)
	}
	condition.add(r.reads([]*ast.Expr{expr}, event)...)
	if !own {
		return
	}
	if event.Op == topdown.FailOp {
		condition.settle(false)
		r.postpone(rule, condition, event)
	} else if condition.Outcome == "unknown" {
		condition.Outcome = "true"
	}
}

// settle ends one attempt at a condition.
func (c *conditionSeen) settle(holds bool) {
	if holds {
		if c.Outcome == "unknown" {
			c.Outcome = "true"
		}
		return
	}
	c.Outcome = "false"
	if len(c.Failures) < maxFailures {
		c.Failures = append(c.Failures, c.Reads)
	}
}

func (c *conditionSeen) isFalse() bool { return c.Outcome == "false" }

// postpone keeps the conditions behind a failed one, for every attempt of another set of values.
func (r *decisionRecorder) postpone(rule *ruleSeen, failed *conditionSeen, event topdown.Event) {
	behind := false
	for _, condition := range rule.Conditions {
		if condition == failed {
			behind = true
			continue
		}
		if !behind || len(condition.exprs) == 0 {
			continue
		}
		body := bound(condition.exprs, event.Locals)
		key := body.String()
		if condition.tried[key] || len(condition.tried) >= maxFailures {
			continue
		}
		condition.tried[key] = true
		if len(r.queue) >= maxUntried {
			r.full = true
			return
		}
		r.queue = append(r.queue, &untried{condition, body, r.reads(condition.exprs, event)})
	}
}

func (r *decisionRecorder) nextUntried() *untried {
	if len(r.queue) == 0 {
		return nil
	}
	next := r.queue[0]
	r.queue = r.queue[1:]
	next.condition.Reads = next.reads
	return next
}

// rules are the distinct ones, in order.
func (r *decisionRecorder) rules() []*ruleSeen {
	out := []*ruleSeen{}
	known := map[string]bool{}
	for _, rule := range r.entered {
		key := placeOf(rule.compiled.Loc()) + fmt.Sprint(rule.Arguments, rule.Holds)
		// A rule that time cut short is neither true nor false.
		cut := r.full && !rule.Holds && !slices.ContainsFunc(rule.Conditions, (*conditionSeen).isFalse)
		if !known[key] && !cut {
			known[key] = true
			out = append(out, rule)
		}
	}
	return out
}

// bound copies expressions with the values of their variables in place.
func bound(exprs []*ast.Expr, locals *ast.ValueMap) ast.Body {
	body := make(ast.Body, 0, len(exprs))
	for _, expr := range exprs {
		copied, err := ast.TransformVars(expr.Copy(), func(name ast.Var) (ast.Value, error) {
			if value := locals.Get(name); value != nil && value.IsGround() {
				return value, nil
			}
			return name, nil
		})
		if plain, ok := copied.(*ast.Expr); err == nil && ok {
			body.Append(plain)
		}
	}
	return body
}

func (r *decisionRecorder) arguments(rule *ast.Rule, event topdown.Event) []read {
	out := []read{}
	for _, argument := range rule.Head.Args {
		if name, ok := argument.Value.(ast.Var); ok {
			if seen := r.local(name, event); seen != nil {
				out = append(out, *seen)
			}
		}
	}
	return out
}

// local is a variable that the author named, and its value.
func (r *decisionRecorder) local(name ast.Var, event topdown.Event) *read {
	meta, ok := event.LocalMetadata[name]
	value := event.Locals.Get(name)
	if !ok || value == nil || !value.IsGround() || !isWritten(meta.Name) {
		return nil
	}
	return r.document(value, meta.Name, nil, true)
}

func isWritten(name ast.Var) bool {
	return name != "" && !name.IsGenerated() && !name.IsWildcard() && !strings.HasPrefix(string(name), "__")
}
