// One expression of a policy at one moment of its evaluation in; the values it looks at out, by the names
// that the author gave them.
//
//go:build js && wasm

package main

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// reads are what expressions look at: documents, members of variables, variables.
func (r *decisionRecorder) reads(exprs []*ast.Expr, event topdown.Event) []read {
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
					if name, ok := part.Value.(ast.Var); ok {
						note(r.local(name, event))
					}
				}
				return true
			case ast.Var:
				note(r.local(value, event))
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
func (r *decisionRecorder) reference(ref ast.Ref, event topdown.Event) *read {
	head, ok := ref[0].Value.(ast.Var)
	if !ok {
		return nil
	}
	rest, ground := ground(ref[1:], event)
	switch {
	case ref[0].Equal(ast.InputRootDocument):
		return r.document(r.input, head, rest, ground)
	case ref[0].Equal(ast.DefaultRootDocument):
		if len(rest) == 0 || r.isVirtual(append(ast.Ref{ref[0]}, rest...)) {
			return nil
		}
		return r.document(r.data, head, rest, ground)
	default:
		meta, ok := event.LocalMetadata[head]
		value := event.Locals.Get(head)
		if !ok || value == nil || !isWritten(meta.Name) {
			return nil
		}
		return r.document(value, meta.Name, rest, ground)
	}
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

func (*decisionRecorder) document(root ast.Value, name ast.Var, rest ast.Ref, ground bool) *read {
	seen := &read{Name: append(ast.Ref{ast.VarTerm(string(name))}, rest...).String(), Path: []any{string(name)}, Within: !ground}
	for _, term := range rest {
		plain, err := ast.JSON(term.Value)
		if err != nil {
			return nil
		}
		seen.Path = append(seen.Path, plain)
	}
	value, err := root.Find(rest)
	for err != nil && seen.Lacks < len(rest) {
		seen.Lacks++
		if _, there := root.Find(rest[:seen.Lacks]); there != nil {
			break
		}
	}
	if err == nil {
		seen.Defined = true
		seen.Value, seen.Shown = shown(value)
		if !seen.Shown {
			seen.Value = nil
		}
	}
	return seen
}

// isVirtual tells rules from data: a package, a rule, or something inside a rule's value.
func (r *decisionRecorder) isVirtual(ref ast.Ref) bool {
	return len(r.compiler.GetRules(ref)) > 0
}
