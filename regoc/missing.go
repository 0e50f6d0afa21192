// A term of a rule in; the part of it that may be missing from a request or from the data out, by the schema of the
// input, the configured operations, the documents, and the rules it stands for.
//
//go:build js && wasm

package main

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// reading is what one rule reads, for the question what of it may be missing.
type reading struct {
	*linter
	b       bindings
	results map[ast.Var]*ast.Expr
	args    ast.VarSet
	// operations are those that the rule is about; nil without a configuration.
	operations []operation
}

func (l *linter) readingOf(rule *ast.Rule) reading {
	args := ast.NewVarSet()
	for _, arg := range rule.Head.Args {
		args.Update(arg.Vars())
	}
	b := bindingsOf(rule)
	return reading{l, b, l.resultsOf(rule), args, l.operationsOf(rule, b)}
}

// resultsOf are the variables that hold what a call gives.
func (l *linter) resultsOf(rule *ast.Rule) map[ast.Var]*ast.Expr {
	results := map[ast.Var]*ast.Expr{}
	ast.WalkExprs(rule.Body, func(expr *ast.Expr) bool {
		if !expr.Negated && expr.IsCall() && !expr.IsEquality() {
			if operands := expr.Operands(); len(operands) == l.compiler.GetArity(expr.Operator())+1 {
				if name, isVar := operands[len(operands)-1].Value.(ast.Var); isVar {
					results[name] = expr
				}
			}
		}
		return false
	})
	return results
}

// missing is the part of a term that may be missing; nil where all of it is there.
func (r reading) missing(term *ast.Term) *ast.Term {
	switch value := term.Value.(type) {
	case ast.Var:
		return r.missingBehind(term, value)
	case ast.Ref:
		for _, step := range value {
			if found := r.missing(step); found != nil {
				return found
			}
		}
		if ref, known := r.b.ref(term); known && r.mayLack(ref, len(ref)-len(value)+1) {
			return term
		}
	case *ast.Array:
		return r.firstMissing(value.Iter)
	case ast.Set:
		return r.firstMissing(value.Iter)
	case ast.Object:
		return r.firstMissing(func(visit func(*ast.Term) error) error {
			return value.Iter(func(key, item *ast.Term) error {
				if err := visit(key); err != nil {
					return err
				}
				return visit(item)
			})
		})
	}
	return nil
}

// missingBehind looks behind a variable of the compiler; one of the author's is a line of its own.
func (r reading) missingBehind(term *ast.Term, name ast.Var) *ast.Term {
	if _, written := r.compiler.RewrittenVars[name]; written {
		return nil
	}
	if from := r.b[name]; from != nil {
		return r.missing(from)
	}
	call := r.results[name]
	if call == nil {
		return nil
	}
	operands := call.Operands()
	for _, operand := range operands[:len(operands)-1] {
		if found := r.missing(operand); found != nil {
			return found
		}
	}
	if rules := r.compiler.GetRulesExact(call.Operator()); len(rules) > 0 && r.mayHaveNone(rules) {
		return term
	}
	return nil
}

func (r reading) firstMissing(each func(func(*ast.Term) error) error) (found *ast.Term) {
	// An iterator of OPA's has no other way to end; nothing here fails.
	_ = each(func(term *ast.Term) error {
		if found == nil {
			found = r.missing(term)
		}
		return nil
	})
	return found
}

// mayLack tells whether a step of a reference, from `from` on, may lead nowhere.
func (r reading) mayLack(ref ast.Ref, from int) bool {
	switch {
	case ref.HasPrefix(ast.InputRootRef):
		return r.inputLacks(ref, from)
	case ref.HasPrefix(ast.DefaultRootRef):
		known := ref.GroundPrefix()
		for n := len(known); n > 1; n-- {
			if rules := r.compiler.GetRulesExact(known[:n]); len(rules) > 0 {
				return r.mayHaveNone(rules) || slices.ContainsFunc(ref[max(n, from):], r.looksUp)
			}
		}
		if len(r.compiler.GetRulesWithPrefix(known)) > 0 {
			return slices.ContainsFunc(ref[max(len(known), from):], r.looksUp)
		}
		return r.dataLacks(ref, from)
	}
	return false
}

// looksUp tells a computed key, which may be none of the keys, from a variable that goes through all of them.
func (r reading) looksUp(step *ast.Term) bool {
	name, isVar := step.Value.(ast.Var)
	return isVar && (r.b[name] != nil || r.results[name] != nil || r.args.Contains(name))
}

func (r reading) inputLacks(ref ast.Ref, from int) bool {
	schema := r.schema
	for at := 1; at < len(ref); at++ {
		step := r.b.value(ref[at])
		object, _ := schema.(map[string]any)
		required, _ := object["required"].([]any)
		name, isName := step.Value.(ast.String)
		there := isName && (slices.Contains(required, any(string(name))) || at == 3 && r.isParameter(ref, string(name)))
		if iterates := !ast.IsScalar(step.Value) && !r.looksUp(ref[at]); !there && !iterates && at >= from {
			return true
		}
		schema = schemaMember(schema, step)
	}
	return false
}

// isParameter tells whether all operations that the rule is about have a parameter.
func (r reading) isParameter(ref ast.Ref, name string) bool {
	member, _ := requestMember(ref)
	lacks := func(o operation) bool { return !slices.Contains(o.Params, name) }
	return member == "params" && len(r.linter.operations) > 0 && !slices.ContainsFunc(r.operations, lacks)
}

// dataLacks looks at the documents themselves; at all of them, behind a key that is not known.
func (r reading) dataLacks(ref ast.Ref, from int) bool {
	documents := []any{any(r.data)}
	for at := 1; at < len(ref); at++ {
		name, isName := r.b.value(ref[at]).Value.(ast.String)
		lacks := len(documents) == 0 || !isName && (r.looksUp(ref[at]) || ast.IsScalar(ref[at].Value))
		var next []any
		for _, document := range documents {
			object, _ := document.(map[string]any)
			list, _ := document.([]any)
			if !isName {
				next = append(next, list...)
				for _, value := range object {
					next = append(next, value)
				}
			} else if value, found := object[string(name)]; found {
				next = append(next, value)
			} else {
				lacks = true
			}
		}
		if lacks && at >= from {
			return true
		}
		documents = next
	}
	return false
}

// mayHaveNone tells whether each definition of a rule or function rests on what may be missing.
func (l *linter) mayHaveNone(rules []*ast.Rule) bool {
	none, known := l.none[rules[0]]
	if !known {
		none = !l.alwaysAnswers(rules) && !slices.ContainsFunc(rules, func(rule *ast.Rule) bool {
			for branch := rule; branch != nil; branch = branch.Else {
				if !l.readingOf(branch).restsOnMissing(branch) {
					return true
				}
			}
			return false
		})
		l.none[rules[0]] = none
	}
	return none
}

func (r reading) restsOnMissing(rule *ast.Rule) bool {
	if r.missing(rule.Head.Value) != nil {
		return true
	}
	return slices.ContainsFunc(rule.Body, func(expr *ast.Expr) bool {
		switch terms := expr.Terms.(type) {
		case *ast.Term:
			return !expr.Negated && len(expr.With) == 0 && r.missing(terms) != nil
		case []*ast.Term:
			return !expr.Negated && len(expr.With) == 0 &&
				slices.ContainsFunc(terms[1:], func(term *ast.Term) bool { return r.missing(term) != nil })
		}
		return false
	})
}
