// In: how many records. Out: records per second and peak memory of `leasegate policy replay`, the command as
// people run it, on one core: a generated audit file, the policy that ships with a lower call rate.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  createWriteStream,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { Operation } from '../src/enforce/operation.ts'
import { newId } from '../src/lease/ids.ts'
import type { Lease } from '../src/lease/lease.ts'
import type { PolicyInput } from '../src/policy/input_schema.ts'
import { openRehearsal } from '../src/policy/rehearsal.ts'
import { sampleInput } from '../src/policy/sample.ts'
import type { Policy } from '../src/ports.ts'
import { auditRecord } from '../src/telemetry/audit.ts'
import { packageRoot } from '../src/version.ts'
import { printTable, round, writeResult } from './numbers.ts'
import { pin, twoCores } from './process.ts'

/** What one replay took. */
export interface ReplayCost {
  readonly records: number
  readonly megabytes: number
  /** Whole command, the compiler included. */
  readonly seconds: number
  readonly records_per_s: number
  /** CPU time of the command without its compiler, kernel included: what a quiet core would take. */
  readonly cpu_seconds: number
  readonly rss_mb: number
  readonly changed: number
}

/** Replays files of so many records. */
export async function measureReplay(sizes: readonly number[]): Promise<ReplayCost[]> {
  const dir = mkdtempSync(join(tmpdir(), 'leasegate-replay-'))
  try {
    const candidate = join(dir, 'candidate')
    cpSync(join(packageRoot, 'policies'), candidate, { recursive: true })
    const { policy } = await openRehearsal(candidate)
    const profiles = join(candidate, 'data/profiles.json')
    writeFileSync(profiles, readFileSync(profiles, 'utf8').replace('"lease": 120', '"lease": 100'))
    const costs: ReplayCost[] = []
    for (const records of sizes) {
      const file = join(dir, 'audit.jsonl')
      await writeRecords(file, records, policy)
      costs.push(await replay(candidate, file, records))
    }
    printTable(
      ['records', 'MB', 'seconds', 'records/s', 'CPU seconds', 'RSS MB'],
      costs.map((cost) => Object.values(cost).slice(0, 6)),
    )
    return costs
  } finally {
    rmSync(dir, { recursive: true })
  }
}

/** Says what the process has used, on its way out. */
const usage = `data:text/javascript,${encodeURIComponent(
  'process.on("exit", () => process.stderr.write(JSON.stringify(process.resourceUsage())))',
)}`

async function replay(candidate: string, file: string, records: number): Promise<ReplayCost> {
  const args = ['policy', 'replay', '--candidate', candidate, '--audit', file, '--json']
  const began = performance.now()
  const child = spawn(process.execPath, ['--import', usage, join(packageRoot, 'src/cli.ts'), ...args])
  pin(child.pid!, twoCores()?.[0])
  const [report, used] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  const { replayed, changed } = JSON.parse(report) as { replayed: number; changed: number }
  if (replayed !== records || changed === 0) throw new Error('the benchmark did not replay its records')
  const { maxRSS, userCPUTime, systemCPUTime } = JSON.parse(used) as NodeJS.ResourceUsage
  const seconds = (performance.now() - began) / 1000
  return {
    records,
    megabytes: round(statSync(file).size / 1e6),
    seconds: round(seconds),
    records_per_s: round(records / seconds),
    cpu_seconds: round((userCPUTime + systemCPUTime) / 1e6),
    rss_mb: round(maxRSS / 1024),
    changed,
  }
}

const operations = [
  { match: 'GET /customers/{id}', verb: 'read', risk: 'low' },
  { match: 'GET /customers', verb: 'list', risk: 'low' },
  { match: 'PATCH /customers/{id}', verb: 'update', risk: 'medium' },
  { match: 'DELETE /customers/{id}', verb: 'delete', risk: 'high' },
] as const

async function writeRecords(file: string, count: number, policy: Policy): Promise<void> {
  const out = createWriteStream(file)
  const startMs = sampleInput.context.now * 1000
  for (let n = 0; n < count; n++) {
    if (!out.write(`${recordOf(n, startMs + n, policy)}\n`)) await once(out, 'drain')
  }
  out.end()
  await once(out, 'close')
}

/** The `n`th of a run of varied requests: 25 agents, four operations, every effect. */
function recordOf(n: number, timeMs: number, policy: Policy): string {
  const { match, verb, risk } = operations[n % operations.length]!
  const { lease, request, context } = sampleInput
  const id = String(1000 + (n % 9000))
  const resource = `crm:customer/${id}`
  const input: PolicyInput = {
    version: 1,
    lease: {
      ...lease,
      agent: { ...lease.agent, id: `agent:support-${n % 25}` },
      stage: n % 3 === 0 ? 'draft' : 'execute',
      granted: [{ actions: [verb], resource: 'crm:customer/*', sensitivity: 'confidential' }],
    },
    request: { ...request, operation: match, verb, risk, resource, path: `/customers/${id}`, params: { id } },
    context: {
      ...context,
      now: Math.floor(timeMs / 1000),
      provenance: n % 7 === 0 ? 'trusted' : 'untrusted',
      recent_calls: { lease_1m: n % 130, agent_1m: n % 700 },
    },
  }
  const asked = JSON.stringify(input)
  const answer = policy.evaluate(asked)
  return auditRecord({
    timeMs,
    decisionId: newId('dec_', timeMs),
    traceId: '0af7651916cd43dd8448eb211c80319c',
    lease: leaseOf(input),
    backend: 'crm',
    operation: operationOf(input),
    resource,
    method: match.split(' ', 1)[0]!,
    target: `/crm${input.request.path}`,
    effect: answer.effect,
    code: answer.effect === 'allow' ? undefined : 'policy_denied',
    reasons: answer.reasons,
    policyDigest: policy.digest,
    cause: undefined,
    status: answer.effect === 'allow' ? 200 : 403,
    bytesIn: 0,
    bytesOut: 700,
    durationMs: 1.5,
    ended: answer.effect === 'allow' ? 'completed' : 'refused',
    peerIp: context.source_ip,
    approval: undefined,
    consultation: { answer, input: { text: asked, redacted: [], omitted: undefined } },
  })
}

function leaseOf({ lease, context }: PolicyInput): Lease {
  return {
    id: lease.id,
    issuer: 'http://broker.bench',
    tokenId: 'ltk_bench',
    user: lease.user,
    agent: { ...lease.agent, instance: 'i-7c', profileVersion: lease.agent.profile_version },
    clientId: 'support',
    audience: 'http://gate.bench',
    task: lease.task,
    stage: lease.stage,
    session: lease.session,
    grants: [],
    binding: undefined,
    delegatedBy: [],
    ancestors: [],
    issuedAt: context.now - lease.age_seconds,
    notBefore: context.now - lease.age_seconds,
    expiresAt: context.now + lease.expires_in_seconds,
    maxExpiresAt: context.now + lease.expires_in_seconds,
    clockTolerance: 5,
    revocationKeys: [],
  }
}

function operationOf({ request }: PolicyInput): Operation {
  return {
    match: request.operation,
    method: request.method,
    segments: [],
    verb: request.verb,
    resource: 'customer/{id}',
    sensitivity: request.sensitivity,
    risk: request.risk,
    body: 'stream',
    bodyLimit: 0,
    allowEncodedSlash: false,
    opaqueQuery: [],
  }
}

if (import.meta.main) writeResult('replay', { replay: await measureReplay([100_000, 1_000_000]) })
