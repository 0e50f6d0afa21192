// Events of OPA's tracer in; rules with their conditions as the author wrote them out, for `explain` and for the trace
// of failing tests. The compiler splits a condition into several expressions, each of which still knows the place it
// was made from. Bounded: a policy that loops fills the record, not the memory.
//
//go:build js && wasm

package main

import (
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

const (
	maxRulesSeen = 500
	maxFailures  = 4
)

// ruleSeen is one body of a rule, entered once.
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
	// failed are the conditions that did not hold, that which failed last at the end.
	failed []*conditionSeen
	below  []*ruleSeen
}

// conditionSeen is one condition of a rule's body, or a value of its head that had to be found.
type conditionSeen struct {
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Text   string `json:"text"`
	// Outcome is "true", "false" or "unknown".
	Outcome string `json:"outcome"`
	// Failures are the values of failed attempts, the last included; Reads those of the last attempt, failed or not.
	Failures  [][]read `json:"failures"`
	Reads     []read   `json:"reads"`
	Constants []any    `json:"constants"`

	offset, end int
	// inner: within an `every`, so that it cannot stand alone.
	inner bool
	exprs []*ast.Expr
	tried map[string]bool
}

// frame is one query under way.
type frame struct {
	// rule is nil outside of rules, and beyond the bound.
	rule *ruleSeen
	// trying is the condition that the query itself is.
	trying *conditionSeen
	// own: what fails in this query fails its rule, unlike the inside of a comprehension or a `not`.
	own   bool
	every bool
	asking
}

// recorder is the tracer of both operations; each has its own ways on top.
type recorder struct {
	compiler *ast.Compiler
	// data is nil where what `data` is depends on the place.
	data   ast.Value
	bodies map[string]ast.Body
	frames map[uint64]*frame
	trying *conditionSeen
	top    []*ruleSeen
	// entered and dropped count rules within the bound and beyond.
	entered, dropped int
}

func newRecorder(compiler *ast.Compiler, written map[string]*ast.Module) recorder {
	r := recorder{compiler: compiler, bodies: map[string]ast.Body{}, frames: map[uint64]*frame{}}
	for _, module := range written {
		for _, rule := range module.Rules {
			for ; rule != nil; rule = rule.Else {
				r.bodies[placeOf(rule.Loc())] = rule.Body
			}
		}
	}
	return r
}

func (*recorder) Enabled() bool { return true }

// Config asks for no variables: they are looked up where they are needed.
func (*recorder) Config() topdown.TraceConfig { return topdown.TraceConfig{} }

// enter follows the evaluation into a query.
func (r *recorder) enter(event topdown.Event) (entered, parent *frame) {
	parent = r.frames[event.ParentID]
	entered = &frame{}
	rule, isRule := event.Node.(*ast.Rule)
	switch {
	case isRule:
		*entered = frame{rule: r.newRule(parent, rule), own: true}
	case parent == nil:
		entered.trying = r.trying
	default:
		expr, _ := event.Node.(*ast.Expr)
		every := expr != nil && expr.IsEvery()
		own := parent.own && (every || parent.every)
		*entered = frame{rule: parent.rule, trying: parent.trying, own: own, every: own}
	}
	r.frames[event.QueryID] = entered
	return entered, parent
}

// exit leaves a query; of a rule, it held.
func (r *recorder) exit(event topdown.Event) {
	if f := r.frames[event.QueryID]; f != nil && f.rule != nil && event.HasRule() {
		f.rule.Holds = true
	}
}

func (r *recorder) newRule(parent *frame, node *ast.Rule) *ruleSeen {
	if r.entered++; r.entered > maxRulesSeen {
		r.dropped++
		return nil
	}
	rule := r.ruleOf(node)
	if parent == nil || parent.rule == nil {
		r.top = append(r.top, rule)
	} else {
		parent.rule.below = append(parent.rule.below, rule)
	}
	return rule
}

func (r *recorder) ruleOf(node *ast.Rule) *ruleSeen {
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
	eachCondition(r.bodies[placeOf(at)], false, func(expr *ast.Expr, inner bool) {
		condition := newCondition(expr.Loc(), constants(expr))
		condition.inner = inner
		rule.Conditions = append(rule.Conditions, condition)
	})
	eachCondition(node.Body, false, func(expr *ast.Expr, _ bool) {
		if condition := rule.at(expr.Loc()); condition != nil {
			condition.exprs = append(condition.exprs, expr)
		}
	})
	return rule
}

// eachCondition visits the expressions of a body, and those of each `every` after it.
func eachCondition(body ast.Body, inner bool, visit func(expr *ast.Expr, inner bool)) {
	for _, expr := range body {
		visit(expr, inner)
		if every, ok := expr.Terms.(*ast.Every); ok {
			eachCondition(every.Body, true, visit)
		}
	}
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

// at is the innermost condition that an expression at a place was made from.
func (s *ruleSeen) at(place *ast.Location) *conditionSeen {
	if place == nil {
		return nil
	}
	for _, condition := range slices.Backward(s.Conditions) {
		if place.Offset >= condition.offset && place.Offset < max(condition.end, condition.offset+1) {
			return condition
		}
	}
	// The head's own values are found after the body, by expressions of the compiler's making.
	condition := newCondition(place, []any{})
	s.Conditions = append(s.Conditions, condition)
	return condition
}

// begins tells the first of the expressions that the compiler made of a condition.
func (c *conditionSeen) begins(expr *ast.Expr) bool {
	return len(c.exprs) > 0 && c.exprs[0] == expr
}

// look notes what an expression looks at, and whether it failed. Nil when it is part of no condition.
func (r *recorder) look(f *frame, event topdown.Event, expr *ast.Expr) *conditionSeen {
	if f.rule == nil {
		if f.trying != nil {
			f.trying.add(r.reads([]*ast.Expr{expr}, event)...)
		}
		return nil
	}
	condition := f.rule.at(event.Location)
	if condition == nil {
		return nil
	}
	if f.own && event.Op == topdown.EvalOp && condition.begins(expr) {
		condition.Reads = []read{}
	}
	if f.own && len(f.rule.Arguments) == 0 {
		f.rule.Arguments = r.arguments(f.rule.compiled, event)
	}
	condition.add(r.reads([]*ast.Expr{expr}, event)...)
	if f.own && event.Op == topdown.FailOp {
		condition.settle(false)
		same := func(c *conditionSeen) bool { return c == condition }
		f.rule.failed = append(slices.DeleteFunc(f.rule.failed, same), condition)
	} else if f.own {
		condition.settle(true)
	}
	return condition
}

// settle ends one attempt at a condition.
func (c *conditionSeen) settle(holds bool) {
	switch {
	case !holds && len(c.Failures) == maxFailures:
		c.Failures[maxFailures-1] = c.Reads
	case !holds:
		c.Outcome = "false"
		c.Failures = append(c.Failures, c.Reads)
	case c.Outcome == "unknown":
		c.Outcome = "true"
	}
}
