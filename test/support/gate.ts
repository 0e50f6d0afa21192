// A whole gate in this process: configuration file, compose, real sockets, a backend that records what
// reached it, an issuer that signs. Everything in one temporary directory. Never a stand-in for a part.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { stringify } from 'yaml'
import { openStore, type RunningGate, startGate } from '../../src/compose.ts'
import { loadConfig } from '../../src/config/load.ts'
import type { Config } from '../../src/config.ts'
import type { Store } from '../../src/ports.ts'
import type { AuditEntry } from '../../src/telemetry/audit.ts'
import { createLogger } from '../../src/telemetry/log.ts'
import { packageRoot } from '../../src/version.ts'
import { type RecordedRequest, type RecordingBackend, startRecordingBackend } from './backends.ts'
import { ask, type RawAnswer, RawConnection } from './raw.ts'
import { type Json, type TestIssuer, testIssuer } from './tokens.ts'

export interface TestGateOptions {
  /** Top-level members of the configuration file, in place of the usual ones. */
  readonly config?: Json
  /** Members of backend `crm`, in place of the usual ones. */
  readonly crm?: Json
  /** Backends beside `crm`, with the same rights in policy. */
  readonly backends?: Readonly<Record<string, Json>>
  /** Members of files of the policy data, in place of the usual ones: `{ 'approvers.json': { crm: … } }`. */
  readonly policyData?: Readonly<Record<string, Json>>
  /** How the recording backend answers; default 200 with JSON. */
  readonly answer?: (request: RecordedRequest, res: ServerResponse) => void
}

/** What the file says unless told otherwise: an operation of every kind. */
export const crmOperations: readonly Json[] = [
  { match: 'GET /customers/{id}', verb: 'read', resource: 'customer/{id}', sensitivity: 'confidential' },
  { match: 'GET /customers', verb: 'list', resource: 'customer', sensitivity: 'confidential' },
  { match: 'PATCH /customers/{id}', verb: 'update', resource: 'customer/{id}', sensitivity: 'confidential' },
  {
    match: 'PUT /customers/{id}',
    verb: 'update',
    resource: 'customer/{id}',
    sensitivity: 'confidential',
    risk: 'low',
    body: 'json',
  },
  {
    match: 'DELETE /customers/{id}',
    verb: 'delete',
    resource: 'customer/{id}',
    sensitivity: 'restricted',
    risk: 'high',
  },
  { match: 'POST /notes/{id}', verb: 'update', resource: 'note/{id}', sensitivity: 'internal', risk: 'low' },
  {
    match: 'GET /projects/{id}',
    verb: 'read',
    resource: 'project/{id}',
    sensitivity: 'internal',
    allow_encoded_slash: true,
  },
]

/** The authority that agents send in Host, and the gate's own origin. */
export const authority = 'gate.example'
export const publicOrigin = `http://${authority}`

/** What the backend's credential is; agents never see it. */
export const backendCredential = 'backend-key-3f9c2b7a'

export interface TestGate {
  readonly running: RunningGate
  readonly config: Config
  readonly configFile: string
  readonly dir: string
  /** Of the agents' listener. */
  readonly port: number
  readonly backend: RecordingBackend
  readonly issuer: TestIssuer
  /** A valid token under a lease of its own; it may do everything that policy lets `crm` agents do. */
  token(claims?: Json, lease?: Json): string
  connect(): Promise<RawConnection>
  /** One message on a connection of its own. */
  ask(bytes: string | Uint8Array): Promise<RawAnswer>
  /** Whole lines of the audit file so far. */
  audit(): Json[]
  /** Those that end a request; the gate writes them after the answer, so wait for them. */
  records(): AuditEntry[]
  /** The records from the `count`-th on, once there are any. */
  recordsAfter(count: number): Promise<AuditEntry[]>
  auditText(): string
  logText(): string
  metrics(): Promise<string>
  readiness(): Promise<{ status: number; checks: { name: string; ready: boolean; detail: string }[] }>
  operatorToken(): string
  /** Through the control listener, as an operator. */
  revoke(ask: Readonly<Record<string, string>>): Promise<Response>
  /** The state store as another process has it open. */
  store(): Promise<Store>
  close(): Promise<void>
}

/** Starts one; share it within a file, compiling policy takes about two seconds. */
export async function startTestGate(options: TestGateOptions = {}): Promise<TestGate> {
  const dir = mkdtempSync(join(tmpdir(), 'leasegate-gate-'))
  const closers: (() => unknown)[] = [() => rmSync(dir, { recursive: true, force: true })]
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) await closer()
  }
  try {
    const backend = await startRecordingBackend(options.answer)
    closers.push(() => backend.close())
    const issuer = testIssuer({ audience: publicOrigin })
    const configFile = writeFiles(dir, { issuer, backend, options })
    const config = loadConfig(configFile, { CRM_TOKEN: backendCredential })
    const log: string[] = []
    const target = { write: (line: string) => log.push(line) }
    const running = await startGate(config, createLogger({ level: 'debug', target }))
    closers.push(() => running.close())
    const parts = { dir, configFile, config, running, backend, issuer }
    return { ...parts, ...views(parts, log, closers), close }
  } catch (error) {
    await close()
    throw error
  }
}

type Parts = Pick<TestGate, 'dir' | 'configFile' | 'config' | 'running' | 'backend' | 'issuer'>

function views({ config, running, issuer }: Parts, log: readonly string[], closers: (() => unknown)[]) {
  const { port } = running.proxy
  const operatorToken = () => readFileSync(config.control.tokenFile, 'utf8').trim()
  const auditText = () => readFileSync(config.audit.file, 'utf8')
  const audit = () => jsonLines(auditText())
  const records = () => audit().filter(endsRequest)
  let store: Promise<Store> | undefined
  return {
    port,
    token: tokenMaker(issuer),
    connect: () => RawConnection.open(port),
    ask: (bytes: string | Uint8Array) => ask(port, bytes),
    audit,
    records,
    async recordsAfter(count: number) {
      await eventually(() => records().length > count, 'an audit record')
      return records().slice(count)
    },
    auditText,
    operatorToken,
    logText: () => log.join(''),
    metrics: async () => (await fetch(`http://127.0.0.1:${running.metrics.port}/metrics`)).text(),
    async readiness() {
      const response = await fetch(`http://127.0.0.1:${running.metrics.port}/readyz`)
      const { checks } = (await response.json()) as Pick<Awaited<ReturnType<TestGate['readiness']>>, 'checks'>
      return { status: response.status, checks }
    },
    revoke: (body: Readonly<Record<string, string>>) =>
      fetch(`http://127.0.0.1:${running.control.port}/revocations`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${operatorToken()}` },
        body: JSON.stringify(body),
      }),
    store() {
      if (store === undefined) {
        store = openStore(config)
        closers.push(async () => (await store)?.close())
      }
      return store
    },
  }
}

function endsRequest(line: Json): line is Json & AuditEntry {
  const outcome = line.outcome as AuditEntry['outcome'] | undefined
  return outcome !== undefined && outcome.ended !== 'intent'
}

function jsonLines(text: string): Json[] {
  const lines = text.split('\n')
  // What follows the last line break is a line that is still being written.
  lines.pop()
  return lines.map((line) => JSON.parse(line) as Json)
}

const everything = ['customer', 'customer/*', 'note/*', 'project/*']

/** Grants for all of a backend. */
export function grantsFor(backend: string, identifiers: readonly string[] = everything): Json[] {
  return identifiers.map((identifier) => ({
    type: 'lease',
    actions: ['read', 'list', 'update', 'delete'],
    identifier: `${backend}:${identifier}`,
    sensitivity: 'restricted',
  }))
}

let leases = 0

function tokenMaker(issuer: TestIssuer): TestGate['token'] {
  return (claims = {}, lease = {}) => {
    leases++
    const usual = issuer.claims() as { lease: Json }
    return issuer.token({
      jti: `ltk_${leases}`,
      authorization_details: grantsFor('crm'),
      lease: { ...usual.lease, id: `lse_${leases}`, session: `ses_${leases}`, stage: 'execute', ...lease },
      ...claims,
    })
  }
}

interface Files {
  readonly issuer: TestIssuer
  readonly backend: RecordingBackend
  readonly options: TestGateOptions
}

function writeFiles(dir: string, { issuer, backend, options }: Files): string {
  writePolicies(join(dir, 'policies'), options)
  writeFileSync(join(dir, 'jwks.json'), JSON.stringify(issuer.jwks))
  const crm = {
    url: backend.url,
    path_prefix: '/crm',
    credential: { header: 'authorization', value: `Bearer \${env:CRM_TOKEN}` },
    operations: crmOperations,
    // Most tests are about something else and send bearer tokens; class E tests the default.
    require_binding: 'never',
    ...options.crm,
  }
  const file = {
    listen: { proxy: '127.0.0.1:0', control: '127.0.0.1:0', metrics: '127.0.0.1:0' },
    public_origin: publicOrigin,
    issuers: [{ issuer: issuer.issuer, jwks: { file: './jwks.json' } }],
    log: { level: 'debug', requests: 'none' },
    ...options.config,
    backends: { crm, ...options.backends },
  }
  const path = join(dir, 'config.yaml')
  writeFileSync(path, stringify(file))
  return path
}

/** The policies that ship; further backends are treated as `crm` is. */
function writePolicies(dir: string, { backends = {}, policyData = {} }: TestGateOptions): void {
  cpSync(join(packageRoot, 'policies'), dir, { recursive: true })
  const edit = (name: string, change: (data: PolicyData) => void) => {
    const data = JSON.parse(readFileSync(join(dir, 'data', name), 'utf8')) as PolicyData
    change(data)
    writeFileSync(join(dir, 'data', name), JSON.stringify(data))
  }
  for (const backend of Object.keys(backends)) {
    const alike = ({ backends: known }: { backends: Json }) => {
      known[backend] = known.crm
    }
    edit('groups.json', (groups) => alike(groups.support as { backends: Json }))
    edit('profiles.json', (profiles) => alike(profiles.support as { backends: Json }))
    edit('approvers.json', (approvers) => {
      approvers[backend] = approvers.crm
    })
  }
  for (const [name, members] of Object.entries(policyData)) edit(name, (data) => Object.assign(data, members))
}

type PolicyData = Record<string, unknown>

/** Waits until `holds`; `what` is what is missing when it does not come about within `seconds`. */
export async function eventually(
  holds: () => boolean | Promise<boolean>,
  what: string,
  seconds = 15,
): Promise<void> {
  const deadline = Date.now() + seconds * 1000
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`${what} did not come about`)
    await sleep(10)
  }
}

export interface Message {
  readonly method?: string
  readonly target?: string
  readonly token?: string
  /** Further fields, `Name: value`. */
  readonly fields?: readonly string[]
  /** With its Content-Length; `fields` frame any other. */
  readonly body?: string
}

/** A well-formed message, but for what `fields` bring in. */
export function message({
  method = 'GET',
  target = '/crm/customers/9821',
  token,
  fields = [],
  body,
}: Message): string {
  const lines = [`${method} ${target} HTTP/1.1`, `Host: ${authority}`]
  if (token !== undefined) lines.push(`Authorization: Bearer ${token}`)
  lines.push(...fields)
  if (body !== undefined) lines.push(`Content-Length: ${Buffer.byteLength(body, 'latin1')}`)
  return `${lines.join('\r\n')}\r\n\r\n${body ?? ''}`
}
