// What the demo shows, in order: each step as a command for people, and as a call that checks its answer.
import { style } from '../commands/terminal.ts'
import type { Config } from '../config.ts'
import { clientStep } from './client_step.ts'
import { deleteStep } from './delete_step.ts'
import { exchangeStep } from './exchange_step.ts'
import type { DemoParties } from './login.ts'

/** What came of a step: lines to print, and what was not as expected. */
export interface StepOutcome {
  readonly lines: readonly string[]
  readonly problem?: string
}

/** One step: `shown` can be pasted into a shell that has run the steps before it. */
export interface Step {
  readonly title: string
  readonly shown: string
  /** What it should come to, for people. */
  readonly expected: string
  /** What somebody else does before it ends, for people. */
  readonly meanwhile?: readonly string[]
  perform(lease: DemoLease): Promise<StepOutcome>
}

/** The lease of the demo, once the first step has got one. */
export interface DemoLease {
  token: string
  id: string
}

export interface DemoFacts {
  readonly config: Config
  readonly parties: DemoParties
  readonly controlUrl: string
  /** Signs the approver in, once. */
  readonly signInLink: string
  readApproverToken(): string
  /** How many the backend has seen. */
  deletes(): number
  /** Ends a lease as `leasegate revoke` does. */
  revoke(leaseId: string): Promise<void>
}

interface Call {
  readonly title: string
  readonly url: string
  readonly method?: 'PATCH'
  readonly status: number
  readonly why: string
  readonly code?: string
  readonly header?: string
}

/** The steps of the demo. */
export function stepsFor(facts: DemoFacts): readonly Step[] {
  const { config } = facts
  const crm = `${config.publicOrigin}${config.backends[0]!.pathPrefix ?? ''}`
  const backend = config.backends[0]!.origin
  const read = { url: `${crm}/customers/9821` }
  return [
    exchangeStep(facts),
    callStep({
      ...read,
      title: '2. The agent reads the customer it was asked about',
      status: 200,
      header: 'lease-id',
      why: 'the lease covers it',
    }),
    callStep({
      title: '3. The same call straight at the backend',
      url: `${backend}/customers/9821`,
      status: 401,
      why: 'the agent has no key',
    }),
    callStep({
      title: '4. Another customer',
      url: `${crm}/customers/1042`,
      status: 403,
      code: 'outside_lease',
      why: 'the answer names the lease it would take',
    }),
    callStep({
      ...read,
      title: '5. A write',
      method: 'PATCH',
      status: 403,
      code: 'outside_lease',
      why: 'the lease is for reading',
    }),
    revokeStep(facts),
    callStep({
      ...read,
      title: '7. The first call again',
      status: 401,
      code: 'lease_revoked',
      why: 'the lease is dead',
    }),
    clientStep(facts),
    deleteStep(facts),
  ]
}

function callStep(facts: Call): Step {
  const body = facts.method === undefined ? undefined : '{"plan":"starter"}'
  const write =
    body === undefined ? '' : ` -X ${facts.method} -H 'content-type: application/json' -d '${body}'`
  return {
    title: facts.title,
    shown: `curl -i${write} -H "authorization: Bearer $LEASE" ${facts.url}`,
    expected: `${facts.status}: ${facts.why}`,
    async perform({ token }) {
      const response = await fetch(facts.url, {
        method: facts.method ?? 'GET',
        headers: {
          authorization: `Bearer ${token}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body }),
      })
      const text = await response.text()
      const problem = differs(facts, response, text)
      return { lines: describe(response, text), ...(problem === undefined ? {} : { problem }) }
    },
  }
}

function revokeStep({ revoke }: DemoFacts): Step {
  return {
    title: '6. Somebody revokes the lease',
    shown: 'npm run -s leasegate -- revoke --lease $LEASE_ID --reason demo -c config.example.yaml',
    expected: 'acknowledged once it is on disk',
    async perform({ id }) {
      await revoke(id)
      return { lines: [`revoked lease ${id}`] }
    },
  }
}

function differs({ status, code, header }: Call, response: Response, text: string): string | undefined {
  if (response.status !== status) return `expected ${status}, got ${response.status}`
  if (header !== undefined && response.headers.get(header) === null) return `expected a ${header} header`
  if (code !== undefined && !text.includes(`"code":"${code}"`)) return `expected code ${code}`
  return undefined
}

/** Status, the headers worth looking at, and the body. */
export function describe(response: Response, text: string): string[] {
  const lines = [style.cyan(`HTTP ${response.status} ${response.statusText}`)]
  for (const name of ['lease-id', 'decision-id', 'www-authenticate']) {
    const value = response.headers.get(name)
    if (value !== null) lines.push(`${name}: ${value}`)
  }
  return [...lines, ...pretty(text).split('\n')]
}

function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2)
  } catch {
    return text.trim()
  }
}

/** Prints the steps as commands to paste, after what the login and the agent's platform would give. */
export async function sayCommands(steps: readonly Step[], { config, parties }: DemoFacts): Promise<void> {
  const say = (line: string) => process.stdout.write(`${line}\n`)
  say(
    `${style.bold('Paste this into another terminal')} ${style.dim('(AGENT is good once, for five minutes)')}\n`,
  )
  say(`export ALICE=${await parties.idToken()}`)
  say(`export AGENT=${await parties.assertion(config.broker.issuer)}\n`)
  for (const { title, shown, expected, meanwhile = [] } of steps) {
    say(`${style.dim(`# ${title} → ${expected}`)}\n${shown}\n`)
    if (meanwhile.length > 0) say(`${meanwhile.join('\n')}\n`)
  }
  say(style.dim('Every request appears below. Ctrl-C ends the demo.'))
}
