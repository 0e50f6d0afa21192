// What the fixture server tells: actions, leases, decisions, agents, gates, in the shapes of the API, some of it
// written by somebody hostile. In: how many leases. Out: answers by path, and the data to change.
import { createHash } from 'node:crypto'

export type Json = Record<string, unknown>

export interface Fixture {
  readonly actions: ActionData[]
  me: Json | undefined
  readonly get: (url: URL) => { readonly status?: number; readonly body: unknown } | undefined
  readonly post: (path: string, body: Json) => { readonly status: number; readonly answer: unknown }
  readonly decision: (at: number) => Json
}

export interface ActionData extends Json {
  id: string
  state: string
  fingerprint: string
  call: Json
}

/** PublicKeyCredentialCreationOptionsJSON (WebAuthn Level 3 §5.4). */
const creationOptions = {
  rp: { id: 'localhost', name: 'Leasegate' },
  user: { id: 'b2xpdmlh', name: 'olivia', displayName: 'olivia' },
  challenge: 'Y2hhbGxlbmdl',
  pubKeyCredParams: [{ type: 'public-key', alg: -7 }],
  authenticatorSelection: { residentKey: 'required', userVerification: 'required' },
}

/** Everything that a text can do to the person who reads it. */
export const hostileText =
  'Routine clean-up <img src=x onerror="document.title=\'owned\'"><script>document.title="owned"</script>\n' +
  '\u202egnp.exe\u202c approved by Alice\u2028Approved: yes\u200b\u2066 аpprоve pаypаl.com \u0007 zal\u0301\u0302\u0303\u0304go'

const now = () => Math.floor(Date.now() / 1000)

/** The data of one server. */
export function fixtureData(leaseCount: number): Fixture {
  const actions = actionData()
  const leases = Array.from({ length: leaseCount }, (_, at) => leaseOf(at))
  const view = ({ call: _, ...rest }: ActionData) => rest
  const fixture: Fixture = {
    actions,
    me: {
      user: 'olivia@example.com',
      groups: ['crm-owners', 'sre'],
      roles: ['approver', 'operator', 'auditor'],
      signed_in_at: now() - 600,
      acr: null,
      expires_at: now() + 7 * 3600,
      csrf: 'csrf-of-olivia',
      sign_in: 'oidc',
      passkeys: 'high',
      has_passkey: true,
    },
    get(url) {
      const [, kind, id, part] = url.pathname.split('/')
      if (kind === 'me') {
        return fixture.me === undefined
          ? { status: 401, body: { code: 'sign_in_required' } }
          : { body: fixture.me }
      }
      if (kind === 'actions') {
        if (id === undefined) {
          const wanted = url.searchParams.get('state') === 'pending'
          const lease = url.searchParams.get('lease')
          const some = actions.filter(
            (each) =>
              (!wanted || each.state === 'pending') && (lease === null || (each.lease as Json).id === lease),
          )
          return { body: { actions: some.map(view) } }
        }
        const found = actions.find((each) => each.id === id)
        if (found === undefined) return undefined
        return { body: part === 'before' ? beforeOf() : found }
      }
      if (kind === 'leases') return leasesOf(leases, id, url)
      if (kind === 'decisions') return decisionsOf(fixture, id, part)
      return rest(kind)
    },
    post(path, body) {
      const [, kind, id, verb] = path.split('/')
      if (path === '/passkeys/options') return { status: 200, answer: creationOptions }
      if (verb === 'challenge')
        return {
          status: 200,
          answer: { challenge: 'Y2hhbGxlbmdl', rpId: 'localhost', userVerification: 'required' },
        }
      const found = actions.find((each) => each.id === id)
      if (kind !== 'actions' || found === undefined) return { status: 200, answer: {} }
      if (body.fingerprint !== found.fingerprint) {
        return { status: 409, answer: { code: 'approval_changed', detail: 'the action has been replaced' } }
      }
      found.state = verb === 'approve' ? 'approved' : verb === 'refuse' ? 'refused' : 'withdrawn'
      return { status: 200, answer: view(found) }
    },
    decision,
  }
  return fixture
}

interface Given {
  readonly id: string
  readonly kind?: string
  readonly method: string
  readonly path: string
  readonly query?: string
  readonly verb: string
  readonly resource: string
  readonly risk?: string
  readonly sensitivity?: string
  readonly type?: string
  readonly body?: string | Buffer
  readonly purpose?: string
  readonly agent?: string
  readonly group?: string
  readonly you?: Json
  readonly seconds?: number
  readonly terms?: Json
}

function actionData(): ActionData[] {
  return [
    action({
      id: 'act_delete',
      method: 'DELETE',
      path: '/customers/9821',
      verb: 'delete',
      resource: 'crm:customer/9821',
      risk: 'high',
      sensitivity: 'restricted',
      seconds: 540,
      you: { reason_required: true },
    }),
    action({
      id: 'act_draft',
      kind: 'draft',
      method: 'PATCH',
      path: '/customers/17',
      verb: 'update',
      resource: 'crm:customer/17',
      risk: 'medium',
      seconds: 900,
      type: 'application/merge-patch+json',
      body: '{"email":"new@example.com","limits":{"credit":25000.00},"notes":null,"tags":["vip","renewal"]}',
      terms: { repeat: { calls: 10, seconds: 1800 } },
    }),
    action({
      id: 'act_hostile',
      method: 'POST',
      path: '/notes/7',
      query: 'to=%D0%B0dmin&x=%E2%80%AE1',
      verb: 'update',
      resource: 'crm:note/7',
      agent: 'triаge-bot',
      seconds: 45,
      type: 'application/json',
      body: `{"amount":1,"text":${JSON.stringify(hostileText)},"amount":1000,"raw":"\u202eevil\u2066"}`,
      purpose: hostileText,
    }),
    action({
      id: 'act_binary',
      method: 'POST',
      path: '/files/1',
      verb: 'create',
      resource: 'crm:file/1',
      seconds: 3000,
      type: 'application/octet-stream',
      body: Buffer.from([0, 255, 254, 72, 105, 10, 128, 200]),
    }),
    action({
      id: 'act_own',
      method: 'DELETE',
      path: '/customers/1',
      verb: 'delete',
      resource: 'crm:customer/1',
      seconds: 3200,
      you: { may: false, why_not: 'you are the user that the lease acts for' },
    }),
    ...Array.from({ length: 12 }, (_, at) =>
      action({
        id: `act_note_${at}`,
        method: 'POST',
        path: `/notes/${100 + at}`,
        verb: 'update',
        resource: `crm:note/${100 + at}`,
        group: 'notes',
        seconds: 1800 + at,
        type: 'application/json',
        body: JSON.stringify({ text: `Call back on day ${at}` }),
      }),
    ),
    action({
      id: 'act_big',
      method: 'PUT',
      path: '/customers/33',
      verb: 'update',
      resource: 'crm:customer/33',
      seconds: 3300,
      type: 'text/plain',
      body: 'line of an import\n'.repeat(12_000),
    }),
  ]
}

function action(given: Given): ActionData {
  const { id, kind = 'hold', method, path, query, seconds = 600 } = given
  const body = Buffer.from(given.body ?? '')
  return {
    id,
    kind,
    state: 'pending',
    fingerprint: `fp_${id}`,
    group: given.group ?? id,
    created_at: now() - 60,
    expires_at: now() + seconds,
    decision_id: `dec_${id}`,
    what: {
      backend: 'crm',
      operation: `${method} ${path.replace(/\d+$/, '{id}')}`,
      verb: given.verb,
      resource: given.resource,
      sensitivity: given.sensitivity ?? 'confidential',
      risk: given.risk ?? 'low',
      method,
      path,
      content_type: given.type,
      body_bytes: body.length,
      body_digest: `sha-256:${createHash('sha256').update(body).digest('base64url')}`,
    },
    lease: {
      id: 'lse_01K900000001',
      issuer: 'https://broker.example',
      user: 'alice@example.com',
      agent: { id: given.agent ?? 'support-triage', version: '3.2.1', env: 'prod', profile: 'support' },
      task: {
        system: 'jira',
        id: 'SUP-4711',
        purpose:
          given.purpose ??
          'The customer has asked for their account to be removed; the ticket has their signed request.',
      },
      session: 'ses_1',
      stage: kind === 'draft' ? 'draft' : 'execute',
    },
    said: {
      effect: kind,
      reasons: ['risk is high', 'a person has to see this'],
      policy_digest: 'sha256:4f1c',
    },
    terms: {
      approvers: ['group:crm-owners'],
      quorum: id === 'act_delete' ? 2 : 1,
      reason_required: false,
      after_lease: 0,
      ...given.terms,
    },
    yes:
      id === 'act_delete'
        ? [{ user: 'bob@example.com', at: now() - 20, reason: 'checked the signature', shown_by: 'passkey' }]
        : [],
    you: { may: true, reason_required: false, step_up: false, passkey: false, ...given.you },
    call: {
      method,
      target: query === undefined ? path : `${path}?${query}`,
      headers: [
        ['accept', '*/*'],
        ['content-type', given.type ?? ''],
        ['x-request', 'caf\u00e9 \u202eabc'],
      ],
      body_base64: body.toString('base64'),
    },
  }
}

function beforeOf(): Json {
  const now =
    '{"id":17,"email":"old@example.com","limits":{"credit":5000,"cash":100},"notes":"call first","tags":["vip"]}'
  return {
    operation: 'GET /customers/{id}',
    target: '/customers/17',
    status: 200,
    content_type: 'application/json',
    body_base64: Buffer.from(now).toString('base64'),
  }
}

function leaseOf(at: number): Json & { id: string } {
  const agents = ['support-triage', 'billing-close', 'release-notes', 'triage-night']
  const users = ['alice@example.com', 'bob@example.com', 'chen@example.com']
  return {
    id: `lse_01K9${String(at).padStart(8, '0')}`,
    state: 'active',
    who: { user: users[at % 3], login: null },
    agent: {
      id: agents[at % 4],
      version: '3.2.1',
      env: 'prod',
      client_id: agents[at % 4],
      profile: 'support',
    },
    what: {
      audience: 'https://gate.example',
      stage: 'execute',
      authorization_details: [
        {
          type: 'lease',
          actions: ['read', 'update'],
          identifier: `crm:customer/${9000 + at}`,
          sensitivity: 'confidential',
        },
      ],
    },
    why: {
      system: 'jira',
      id: `SUP-${4000 + at}`,
      purpose: at === 1 ? hostileText : "answer the customer's billing question",
    },
    when: {
      issued_at: now() - (at % 50) * 60,
      token_expires_at: now() + 200,
      ends_at: now() + 60 + (at % 60) * 55,
      renewals: at % 4,
      changed: null,
    },
    what_happened: {
      calls: (at * 7) % 300,
      verbs: { read: 4 },
      refusals: at % 5 === 0 ? at % 13 : 0,
      bytes_in: 0,
      bytes_out: 12_345,
      last_used_at: now() - 5,
    },
    revoked: null,
    suspended: null,
    parents: [],
  }
}

function leasesOf(leases: readonly (Json & { id: string })[], id: string | undefined, url: URL) {
  if (id !== undefined) {
    const found = leases.find((each) => each.id === id) ?? leases[0]
    const reach = [
      {
        backend: 'crm',
        operation: 'PATCH /customers/{id}',
        identifier: 'crm:customer/9001',
        sensitivity: 'confidential',
        risk: 'medium',
        points: 6,
      },
    ]
    return { body: { ...found, blast_radius: { points: 1260, calls: 210, window_seconds: 300, reach } } }
  }
  if (url.searchParams.get('state') !== 'active') return { body: { leases: [] } }
  const from = Number(url.searchParams.get('before') ?? 0)
  const to = from + Number(url.searchParams.get('limit') ?? 100)
  return {
    body: { leases: leases.slice(from, to).map(summaryOf), ...(to < leases.length && { next: String(to) }) },
  }
}

function summaryOf({ id, state, who, agent, why, what, when, what_happened: happened }: Json) {
  const { issued_at, ends_at } = when as Json
  const { calls, refusals } = happened as Json
  const task = why as Json
  return {
    ...{ id, state, user: (who as Json).user, agent: (agent as Json).id, task: `${task.system}:${task.id}` },
    ...{
      purpose: task.purpose,
      stage: (what as Json).stage,
      issued_at,
      ends_at,
      calls,
      refusals,
      points: 1260,
    },
  }
}

/** A record has one time, however often it is read. */
const started = Date.now()

function decision(at: number): Json {
  const effects = ['allow', 'allow', 'allow', 'deny', 'hold', 'draft']
  const effect = effects[at % effects.length]
  return {
    time: new Date(started - at).toISOString(),
    decision_id: `dec_${at}`,
    lease_id: `lse_01K9${String(at % 40).padStart(8, '0')}`,
    who: { user: 'alice@example.com' },
    agent: { id: 'support-triage', version: '3.2.1', env: 'prod', instance: 'i-1', profile: 'support' },
    why: { system: 'jira', id: 'SUP-4711', purpose: 'p' },
    what: {
      backend: 'crm',
      operation: 'GET /customers/{id}',
      verb: 'read',
      sensitivity: 'confidential',
      risk: 'low',
      resource: `crm:customer/${at}`,
      method: 'GET',
      path: `/customers/${at}`,
      query: [],
    },
    decision: {
      effect,
      code: effect === 'deny' ? 'policy_denied' : null,
      reasons: effect === 'deny' ? ['the customer is not the one of the task'] : [],
      policy_digest: 'sha256:4f1c',
      cause: null,
    },
    outcome: {
      status: effect === 'allow' ? 200 : 403,
      bytes_in: 0,
      bytes_out: 500,
      duration_ms: 1.2 + (at % 7),
      ended: effect === 'allow' ? 'completed' : 'refused',
    },
  }
}

const explainedRule = {
  rule: 'data.leasegate.authz.stage_allows',
  title: 'The stage lets writes through',
  file: 'authz.rego',
  line: 42,
  holds: false,
  conditions: [
    { text: 'input.request.verb == "update"', outcome: 'true', reads: [], failures: [] },
    {
      text: 'input.lease.stage == "execute"',
      outcome: 'false',
      failures: [],
      reads: [{ name: 'input.lease.stage', value: 'observe', defined: true, shown: true }],
    },
  ],
}

function decisionsOf(fixture: Fixture, id: string | undefined, part: string | undefined) {
  if (id === undefined)
    return { body: { decisions: Array.from({ length: 120 }, (_, at) => fixture.decision(at)) } }
  if (part === 'explanation')
    return {
      body: {
        recorded: { effect: 'deny', code: 'policy_denied', cause: null },
        notes: [],
        explanations: [
          {
            effect: 'deny',
            reasons: ['the customer is not the one of the task'],
            digest: 'sha256:4f1c',
            built_in: { check: 'grantCoversRequest', holds: true },
            rules: [explainedRule],
            incomplete: false,
            search: {
              changes: [[{ text: 'lease: stage "execute" instead of "observe\u202e"' }]],
              tried: 12,
              complete: true,
            },
          },
        ],
      },
    }
  return { body: decision(Number(id.replace(/\D/g, '')) || 3) }
}

function rest(kind: string | undefined) {
  const gate = {
    host: 'gate-1.internal',
    pid: 71,
    role: 'gate',
    workers: 4,
    version: '0.1.0',
    started_at: now() - 86_000,
    seen_at: now() - 1,
    policy_digest: 'sha256:4f1c9a77d2',
    revocation_age_ms: 41,
    revocation_entries: 1204,
    store: 'redis',
    ready: true,
    faults: [],
  }
  const bodies: Record<string, unknown> = {
    status: {
      gates: [
        { id: 'gate-1', ...gate },
        {
          id: 'gate-2',
          ...gate,
          host: 'gate-2.internal',
          policy_digest: 'sha256:90bb',
          revocation_age_ms: 180,
          ready: false,
          faults: ['the audit file cannot be written'],
        },
      ],
      now: now(),
    },
    approvers: {
      approvers: [
        { user: 'olivia@example.com', yes: 41, no: 6, fast_yes: 2, share_fast: 0.05 },
        { user: 'mallory@example.com', yes: 220, no: 0, fast_yes: 180, share_fast: 0.82 },
      ],
    },
    agents: {
      agents: ['support-triage', 'billing-close', 'release-notes'].map((agent, at) => ({
        agent,
        version: '3.2.1',
        env: 'prod',
        profile: 'support',
        client_id: agent,
        tenant: 'main',
        profile_rights: [],
        reach: [
          {
            backend: 'crm',
            operation: 'GET /customers/{id}',
            identifier: 'crm:customer/*',
            sensitivity: 'confidential',
            risk: 'low',
          },
        ],
        live_leases: at * 12,
        blast_radius: { points: 2400 * at, calls: 800, window_seconds: 300, reach: [] },
      })),
    },
    passkeys: { passkeys: [{ id: 'pk_1', name: 'Laptop', created_at: now() - 86_400 }] },
    repeats: {
      repeats: [
        {
          id: 'rep_1',
          verb: 'update',
          resource: 'crm:note/*',
          calls: 5,
          calls_left: 3,
          at: now() - 100,
          expires_at: now() + 500,
          by: 'olivia@example.com',
          state: 'active',
          reason: 'alike',
        },
      ],
    },
  }
  const body = kind === undefined ? undefined : bodies[kind]
  return body === undefined ? undefined : { body }
}
