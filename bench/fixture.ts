// In: the port of a backend. Out: the configuration, the policy and the leases that every benchmark uses: the
// policy that ships, one coarse CRM API, a lease for one customer of it. Lives in a temporary directory.
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { loadConfig } from '../src/config/load.ts'
import type { Config } from '../src/config.ts'
import type { LeaseConstraints } from '../src/lease/constraints.ts'
import { issueLease, type LeaseAsk } from '../src/lease/issue.ts'
import type { Stage } from '../src/lease/lease.ts'
import { openLocalKey } from '../src/lease/local_key.ts'
import { build } from '../src/policy/toolchain.ts'
import { isRefusal } from '../src/refusals.ts'

/** The authority agents use; the sockets go to a port of the system's choice. */
export const authority = 'gate.bench'
/** The broker under its published name. */
export const brokerIssuer = 'http://broker.bench'
/** What every benchmark asks for. */
export const target = '/crm/customers/9821'

const shipped = join(import.meta.dirname, '../policies')

/** What differs from the usual. */
export interface FixtureOptions {
  /** Members of that section beside the issuer, in YAML. */
  readonly broker?: string
  /** What they name, by path. */
  readonly files?: Readonly<Record<string, object>>
  /** Members of that section, in YAML. */
  readonly state?: string | undefined
  /** File of the policy that ships, as `compilePolicy` makes it. Default: the gate compiles its sources. */
  readonly policy?: string | undefined
}

/** Compiles the policy that ships into a file, so that no compiler runs beside what is measured. */
export async function compilePolicy(file: string): Promise<string> {
  const { wasm, diagnostics } = await build(shipped)
  if (wasm === undefined) throw new Error(JSON.stringify(diagnostics))
  writeFileSync(file, wasm)
  return file
}

/** A directory with a configuration. It goes away by itself. */
export class Fixture implements Disposable {
  readonly dir = mkdtempSync(join(tmpdir(), 'leasegate-bench-'))
  readonly config: Config

  constructor(backendPort: number, options: FixtureOptions = {}) {
    const { broker = '', files = {}, policy, state = 'store: embedded, path: ./state.db' } = options
    const policies = join(this.dir, 'policies')
    if (policy === undefined) cpSync(shipped, policies, { recursive: true })
    else {
      // Sources stay away: a policy has one form.
      cpSync(join(shipped, 'data'), join(policies, 'data'), { recursive: true })
      cpSync(policy, join(policies, 'policy.wasm'))
    }
    // A benchmark needs more calls a minute than the numbers that ship.
    const profiles = join(policies, 'data/profiles.json')
    writeFileSync(profiles, readFileSync(profiles, 'utf8').replaceAll(/"(lease|agent)": \d+/g, '"$1": 1e9'))
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(join(this.dir, dirname(path)), { recursive: true })
      writeFileSync(join(this.dir, path), JSON.stringify(content))
    }
    const file = join(this.dir, 'config.yaml')
    writeFileSync(file, configText(backendPort, { broker, state }))
    this.config = loadConfig(file, {})
  }

  /** A directory with a policy that allows everything, about a hundred times as slowly as the one that ships decides. */
  slowPolicy(): string {
    const dir = join(this.dir, 'slow')
    mkdirSync(dir, { recursive: true })
    const rules = `default decision := {"effect": "deny", "reasons": []}

decision := {"effect": "allow", "reasons": []} if {
	n := numbers.range(1, 300)
	count([1 | some a in n; some b in n; a == b]) == count(n)
	input.version == 1
}`
    writeFileSync(join(dir, 'authz.rego'), `package leasegate.authz\n\n${rules}\n`)
    return dir
  }

  /** A token for reading customer 9821, good for five minutes. */
  token(constraints: LeaseConstraints = {}): Promise<string> {
    const limits = Object.keys(constraints).length === 0 ? {} : { constraints }
    const grant = { actions: ['read'], identifier: 'crm:customer/9821', ...limits }
    return this.#issue({ details: [{ type: 'lease', sensitivity: 'confidential', ...grant }] })
  }

  /** A token for changing any customer; as long as that one. */
  writer(stage: Stage): Promise<string> {
    const grant = { actions: ['read', 'update'], identifier: 'crm:customer/*' }
    return this.#issue({ stage, details: [{ type: 'lease', sensitivity: 'confidential', ...grant }] })
  }

  async #issue(terms: Pick<LeaseAsk, 'details' | 'stage'>): Promise<string> {
    const issued = await issueLease(
      {
        user: 'alice@example.com',
        agent: { id: 'agent:support-triage', version: '3.2.1', env: 'prod', profile: 'support' },
        task: { system: 'jira', id: 'SUP-4711', purpose: "answer the customer's billing question" },
        ...terms,
      },
      {
        issuer: brokerIssuer,
        audience: `http://${authority}`,
        key: await openLocalKey(this.config.broker.keyFile),
        now: Date.now() / 1000,
      },
    )
    if (isRefusal(issued)) throw new Error('the broker refused the lease of the benchmark')
    return issued.token
  }

  [Symbol.dispose](): void {
    rmSync(this.dir, { recursive: true, force: true })
  }
}

function configText(
  backendPort: number,
  { broker, state }: { readonly broker: string; readonly state: string },
): string {
  return `
listen: { proxy: 127.0.0.1:0, control: 127.0.0.1:0, metrics: 127.0.0.1:0 }
public_origin: http://${authority}
broker: { issuer: ${brokerIssuer}, ${broker} }
issuers: [{ issuer: ${brokerIssuer}, jwks: { local: true } }]
state: { ${state} }
policy: { dir: ./policies }
audit: { file: ./audit.jsonl }
control: { operators: [{ name: owner, token_file: ./owner.token, roles: [approver], groups: [crm-owners] }] }
log: { level: error, requests: none }
backends:
  crm:
    url: http://127.0.0.1:${backendPort}
    path_prefix: /crm
    credential: { header: authorization, value: Bearer the-key-no-agent-ever-sees }
    operations:
      - { match: "GET /customers/{id}",    verb: read,   resource: "customer/{id}", sensitivity: confidential }
      - { match: "GET /customers",         verb: list,   resource: "customer",      sensitivity: confidential }
      - { match: "PATCH /customers/{id}",  verb: update, resource: "customer/{id}", sensitivity: confidential }
      - { match: "DELETE /customers/{id}", verb: delete, resource: "customer/{id}", sensitivity: restricted, risk: high }
`
}
