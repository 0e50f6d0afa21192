// In: what an operator types after `--allow`. Out: the authorization detail it means, or what is wrong with
// it. The syntax is `VERB[,VERB] IDENTIFIER [SENSITIVITY] [CONSTRAINT=VALUE …]`. Pure.
import { areIssuable, constraintNames, constraintSyntax, type LeaseConstraints } from './constraints.ts'
import { isAction, isIdentifier, isSensitivity } from './details.ts'
import { type Sensitivity, sensitivities } from './lease.ts'

/** One entry of `authorization_details`, as issued. */
export interface LeaseDetail {
  readonly type: 'lease'
  readonly actions: readonly string[]
  readonly identifier: string
  readonly sensitivity: Sensitivity
  readonly constraints?: LeaseConstraints
}

export type Allow =
  | { readonly ok: true; readonly detail: LeaseDetail }
  | { readonly ok: false; readonly problem: string }

const syntax =
  "expected 'VERB[,VERB] IDENTIFIER [SENSITIVITY] [CONSTRAINT=VALUE]', e.g. 'read,list crm:customer/* max_calls=20'"

/**
 * Parses `read,list crm:customer/9821`, `read crm:customer/* restricted` or, the same in more words,
 * `read crm:customer/* up to restricted`. Without a ceiling it is `confidential`. Constraints follow, each once:
 * `update billing:invoice/* max_calls=20 max_amount=250.00 max_rate=20/1m burst 5`.
 */
export function parseAllow(text: string): Allow {
  const words = text.trim().split(/\s+/u)
  const limited = words.findIndex((word, at) => at > 1 && word.includes('='))
  const [verbs, identifier, ...rest] = limited < 0 ? words : words.slice(0, limited)
  if (verbs === undefined || identifier === undefined) return wrong(syntax)
  const [ceiling = 'confidential', ...more] = rest[0] === 'up' && rest[1] === 'to' ? rest.slice(2) : rest
  if (more.length > 0 || rest.length === 2) return wrong(syntax)
  const actions = verbs.split(',')
  if (!actions.every(isAction)) return wrong(`'${verbs}' is not a list of verbs: ${syntax}`)
  if (new Set(actions).size !== actions.length) return wrong(`'${verbs}' names a verb twice`)
  if (!isIdentifier(identifier)) {
    return wrong(
      `'${identifier}' is not a resource: write backend:path or backend:path/*, e.g. crm:customer/9821`,
    )
  }
  if (!isSensitivity(ceiling)) return wrong(`'${ceiling}' is not one of ${sensitivities.join(', ')}`)
  const detail: LeaseDetail = { type: 'lease', actions, identifier, sensitivity: ceiling }
  if (limited < 0) return { ok: true, detail }
  const constraints = readConstraints(words.slice(limited))
  return typeof constraints === 'string'
    ? wrong(constraints)
    : { ok: true, detail: { ...detail, constraints } }
}

/** `max_calls=20 max_rate=20/1m burst 5`, or what is wrong with it. */
function readConstraints(words: readonly string[]): LeaseConstraints | string {
  const values: Record<string, unknown> = {}
  // A value goes on to the next word that has an equals sign: a rate may be written in three.
  for (const [, name, value] of words.join(' ').matchAll(/(\S*?)=(.*?)(?= \S*=|$)/gu)) {
    if (name === undefined || !constraintNames.includes(name)) {
      return `'${name}' is not one of ${constraintNames.join(', ')}`
    }
    if (Object.hasOwn(values, name)) return `'${name}' stands there twice`
    const counts = (name === 'max_calls' || name === 'max_bytes') && /^[0-9]+$/.test(value!)
    values[name] = counts ? Number(value) : value
  }
  if (areIssuable(values)) return values
  const given = constraintNames.filter((name) => Object.hasOwn(values, name))
  const wrongOne = given.find((name) => !areIssuable({ [name]: values[name] })) ?? ''
  const above = values[wrongOne] === 0 ? ', above 0' : ''
  return `write ${constraintSyntax[constraintNames.indexOf(wrongOne)]}${above}`
}

function wrong(problem: string): Allow {
  return { ok: false, problem }
}
