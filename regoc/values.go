// One expression of a policy at one moment of its evaluation in; the values it looks at out, by the names
// that the author gave them.
//
//go:build js && wasm

package main

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

const (
	maxReads = 24
	// maxValueBytes is the length of JSON above which a value is only named.
	maxValueBytes = 2000
)

// read is one value a condition looked at.
type read struct {
	// Name is as the author would write it: input.request.verb, data.profiles["a"].verbs, grant.actions.
	Name string `json:"name"`
	// Path starts with input, data or the name of a variable.
	Path []any `json:"path"`
	// Value is null when undefined or too long to show.
	Value   any  `json:"value"`
	Defined bool `json:"defined"`
	// Lacks is the step of an undefined Path that is not there, else 0.
	Lacks int  `json:"lacks"`
	Shown bool `json:"shown"`
	// Within: not this value, but some members of it were looked at.
	Within bool `json:"within"`

	value ast.Value
}

// MarshalJSON writes the value out: most that are read are replaced by later ones.
func (s read) MarshalJSON() ([]byte, error) {
	type plain read
	if s.Defined {
		if value, short := shown(s.value); short {
			s.Value, s.Shown = value, true
		}
	}
	return json.Marshal(plain(s))
}

// String is the value as a Rego term.
func (s read) String() string {
	if !s.Defined {
		return "undefined"
	}
	return s.value.String()
}

// shown is a value as JSON, or false when it is too long to show.
func shown(value ast.Value) (any, bool) {
	plain, err := ast.JSON(value)
	if err != nil {
		return nil, false
	}
	text, err := json.Marshal(plain)
	return plain, err == nil && len(text) <= maxValueBytes
}

// reads are what expressions look at: documents, members of variables, variables.
func (r *recorder) reads(exprs []*ast.Expr, event topdown.Event) []read {
	found := []read{}
	note := func(seen *read) {
		if seen != nil {
			found = append(found, *seen)
		}
	}
	for _, expr := range exprs {
		ast.WalkTerms(expr, func(term *ast.Term) bool {
			switch value := term.Value.(type) {
			case ast.Ref:
				note(r.reference(value, event))
				// The first term is no variable of its own.
				for _, part := range value[1:] {
					if _, ok := part.Value.(ast.Var); ok {
						note(r.local(part, event))
					}
				}
				return true
			case ast.Var:
				note(r.local(term, event))
			}
			return false
		})
	}
	return found
}

// add keeps the latest value under each name.
func (c *conditionSeen) add(reads ...read) {
	for _, seen := range reads {
		at := slices.IndexFunc(c.Reads, func(known read) bool { return known.Name == seen.Name })
		switch {
		case at >= 0:
			c.Reads[at] = seen
		case len(c.Reads) < maxReads:
			c.Reads = append(c.Reads, seen)
		}
	}
}

// constants are the words and numbers that the author wrote in a condition.
func constants(expr *ast.Expr) []any {
	found := []any{}
	ast.WalkTerms(expr, func(term *ast.Term) bool {
		switch value := term.Value.(type) {
		case ast.Ref:
			return true
		case ast.String, ast.Number, ast.Boolean:
			if plain, short := shown(value); short && len(found) < maxReads && !slices.Contains(found, plain) {
				found = append(found, plain)
			}
		}
		return false
	})
	return found
}

// reference is what a reference leads to now; nil for rules, functions and builtins.
func (r *recorder) reference(ref ast.Ref, event topdown.Event) *read {
	rest, ground := ground(ref[1:], event)
	switch {
	case ref[0].Equal(ast.InputRootDocument):
		return valueUnder(event.Input(), "input", rest, ground)
	case !ref[0].Equal(ast.DefaultRootDocument):
		if root, name := r.variable(ref[0], event); name != "" {
			return valueUnder(root, name, rest, ground)
		}
	case r.data != nil && len(rest) > 0 && !r.isVirtual(append(ast.Ref{ref[0]}, rest...)):
		return valueUnder(ast.NewTerm(r.data), "data", rest, ground)
	}
	return nil
}

// ground resolves the operands of a reference up to the first that has no value yet.
func ground(terms []*ast.Term, event topdown.Event) (ast.Ref, bool) {
	out := ast.Ref{}
	for _, term := range terms {
		plugged := event.Plug(term)
		if !plugged.IsGround() {
			return out, false
		}
		out = append(out, plugged)
	}
	return out, true
}

func valueUnder(root *ast.Term, name ast.Var, rest ast.Ref, ground bool) *read {
	seen := &read{Name: append(ast.Ref{ast.VarTerm(string(name))}, rest...).String(), Path: []any{string(name)}, Within: !ground}
	for _, term := range rest {
		plain, err := ast.JSON(term.Value)
		if err != nil {
			return nil
		}
		seen.Path = append(seen.Path, plain)
	}
	if root == nil {
		return seen
	}
	value, err := root.Value.Find(rest)
	for err != nil && seen.Lacks < len(rest) {
		seen.Lacks++
		if _, there := root.Value.Find(rest[:seen.Lacks]); there != nil {
			break
		}
	}
	seen.value, seen.Defined = value, err == nil
	return seen
}

// isVirtual tells rules from data: a package, a rule, or something inside a rule's value.
func (r *recorder) isVirtual(ref ast.Ref) bool {
	return len(r.compiler.GetRules(ref)) > 0
}

// local is a variable that the author named, and its value.
func (r *recorder) local(variable *ast.Term, event topdown.Event) *read {
	root, name := r.variable(variable, event)
	if name == "" || !root.IsGround() {
		return nil
	}
	return valueUnder(root, name, nil, true)
}

// variable is what the author called a variable, ” when the compiler made it, and what it is bound to.
func (r *recorder) variable(term *ast.Term, event topdown.Event) (*ast.Term, ast.Var) {
	name, _ := term.Value.(ast.Var)
	if written, ok := r.compiler.RewrittenVars[name]; ok {
		name = written
	}
	bound := event.Plug(term)
	_, free := bound.Value.(ast.Var)
	if free || name.IsGenerated() || name.IsWildcard() || strings.HasPrefix(string(name), "__") {
		return nil, ""
	}
	return bound, name
}

func (r *recorder) arguments(rule *ast.Rule, event topdown.Event) []read {
	out := []read{}
	for _, argument := range rule.Head.Args {
		if _, ok := argument.Value.(ast.Var); ok {
			if seen := r.local(argument, event); seen != nil {
				out = append(out, *seen)
			}
		}
	}
	return out
}
