// In: the port of a backend. Out: the configuration, the policy and the leases that every benchmark uses: the
// policy that ships, one coarse CRM API, a lease for one customer of it. Lives in a temporary directory.
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { loadConfig } from '../src/config/load.ts'
import type { Config } from '../src/config.ts'
import { issueLease } from '../src/lease/issue.ts'
import { openLocalKey } from '../src/lease/local_key.ts'
import { isRefusal } from '../src/refusals.ts'

/** The authority agents use; the sockets go to a port of the system's choice. */
export const authority = 'gate.bench'
/** The broker under its published name. */
export const brokerIssuer = 'http://broker.bench'
/** What every benchmark asks for. */
export const target = '/crm/customers/9821'

/** A directory with a configuration. It goes away by itself. */
export class Fixture implements Disposable {
  readonly dir = mkdtempSync(join(tmpdir(), 'leasegate-bench-'))
  readonly config: Config

  /** `broker`: members of that section beside the issuer, in YAML; `files`: what they name, by path. */
  constructor(
    backendPort: number,
    { broker = '', files = {} }: { broker?: string; files?: Readonly<Record<string, object>> } = {},
  ) {
    const policies = join(this.dir, 'policies')
    cpSync(join(import.meta.dirname, '../policies'), policies, { recursive: true })
    // A benchmark needs more calls a minute than the numbers that ship.
    const profiles = join(policies, 'data/profiles.json')
    writeFileSync(profiles, readFileSync(profiles, 'utf8').replaceAll(/"(lease|agent)": \d+/g, '"$1": 1e9'))
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(join(this.dir, dirname(path)), { recursive: true })
      writeFileSync(join(this.dir, path), JSON.stringify(content))
    }
    const file = join(this.dir, 'config.yaml')
    writeFileSync(file, configText(backendPort, broker))
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
  async token(): Promise<string> {
    const issued = await issueLease(
      {
        user: 'alice@example.com',
        agent: { id: 'agent:support-triage', version: '3.2.1', env: 'prod', profile: 'support' },
        task: { system: 'jira', id: 'SUP-4711', purpose: "answer the customer's billing question" },
        details: [
          {
            type: 'lease',
            actions: ['read'],
            identifier: 'crm:customer/9821',
            sensitivity: 'confidential',
          },
        ],
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

function configText(backendPort: number, broker: string): string {
  return `
listen: { proxy: 127.0.0.1:0, control: 127.0.0.1:0, metrics: 127.0.0.1:0 }
public_origin: http://${authority}
broker: { issuer: ${brokerIssuer}, ${broker} }
issuers: [{ issuer: ${brokerIssuer}, jwks: { local: true } }]
state: { store: embedded, path: ./state.db }
policy: { dir: ./policies }
audit: { file: ./audit.jsonl }
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
