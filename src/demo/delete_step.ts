// The end of the demo: a delete that a human has to approve. In: where everything is. Out: the call that waits, the yes of
// carol, who owns the CRM, and the record that names her.
import { createLeaseClient, type LeaseClient, LeaseRefused, privateKeyJwt } from '../client/index.ts'
import { demoAgent } from './login.ts'
import { type DemoFacts, describe, type Step, type StepOutcome } from './steps.ts'

const reason = 'asked for in SUP-4711'

/** The step. The call stays open until carol has decided; it reaches the backend once. */
export function deleteStep(facts: DemoFacts): Step {
  const { config, parties, controlUrl, signInLink } = facts
  const { broker, publicOrigin } = config
  return {
    title: '9. A delete waits for a human, who is not the one that it is done for',
    shown: `BROKER=${broker.issuer} GATE=${publicOrigin} AGENT_KEY=${parties.agentKeyFile} USER_TOKEN=$ALICE node examples/delete.ts`,
    expected: 'it goes through by itself once carol has said yes',
    meanwhile: [
      `Meanwhile ${parties.approver.name} decides. Open this, press Approve, say why (it signs in once, within ten minutes):`,
      `  ${signInLink}`,
      'Or without a browser, in a third terminal:',
      ...approvingByCurl(controlUrl, parties.approver.tokenFile),
    ],
    async perform() {
      const client = await createLeaseClient({
        broker: broker.issuer,
        clientId: demoAgent,
        authenticate: privateKeyJwt(parties.agentKey),
        subjectToken: () => parties.idToken(),
      })
      try {
        return await deleteOnce(client, facts)
      } catch (error) {
        if (error instanceof LeaseRefused) return { lines: [error.message], problem: 'the agent was refused' }
        throw error
      }
    },
  }
}

function approvingByCurl(controlUrl: string, tokenFile: string): string[] {
  const body = `{\\"fingerprint\\":\\"$(of fingerprint)\\",\\"reason\\":\\"${reason}\\"}`
  return [
    `  CAROL="authorization: Bearer $(cat ${tokenFile})"`,
    `  ACTION=$(curl -s -H "$CAROL" ${controlUrl}/actions)`,
    '  of() { node -pe "JSON.parse(process.argv[1]).actions[0].$1" "$ACTION"; }',
    `  curl -s -H "$CAROL" --json "${body}" ${controlUrl}/actions/$(of id)/approve`,
  ]
}

async function deleteOnce(client: LeaseClient, facts: DemoFacts): Promise<StepOutcome> {
  const { config, deletes } = facts
  const lines: string[] = []
  const approved = Promise.withResolvers<void>()
  const lease = client.lease({
    task: 'jira:SUP-4711',
    purpose: 'remove a customer who asked for it',
    resource: config.publicOrigin,
    stage: 'execute',
    allow: [
      {
        type: 'lease',
        actions: ['delete'],
        identifier: 'crm:customer/9821',
        sensitivity: 'restricted',
        constraints: { max_risk: 'high' },
      },
    ],
    approval: {
      waitSeconds: 1,
      onWaiting: ({ id }) => {
        lines.push(`waiting ${id}`)
        approve(id, facts).then((line) => {
          lines.push(line)
          approved.resolve()
        }, approved.reject)
      },
    },
  })
  const crm = `${config.publicOrigin}${config.backends[0]!.pathPrefix ?? ''}`
  const answer = lease.fetch(`${crm}/customers/9821`, { method: 'DELETE' })
  // Whichever fails first: without a yes the call would wait for ten minutes.
  const [response] = await Promise.all([answer, Promise.race([approved.promise, answer])])
  const { lines: recorded, problem } = await recordOf(response.headers.get('decision-id') ?? '', facts)
  await lease.complete()
  const seen = `the backend has seen ${deletes()} DELETE`
  const wrong = response.status === 200 && deletes() === 1 ? problem : `${response.status}: ${seen}`
  const all = [...lines, ...describe(response, await response.text()), seen, ...recorded]
  return { lines: all, ...(wrong === undefined ? {} : { problem: wrong }) }
}

/** Carol looks at what waits, and says yes to exactly what she was shown. */
async function approve(id: string, facts: DemoFacts): Promise<string> {
  const shown = (await ask(`/actions/${id}`, facts)) as { readonly fingerprint?: string }
  const order = JSON.stringify({ fingerprint: shown.fingerprint, reason })
  const answer = (await ask(`/actions/${id}/approve`, facts, order)) as { readonly state?: string }
  if (answer.state !== 'approved') throw new Error(`approving failed: ${JSON.stringify(answer)}`)
  return `approved by ${facts.parties.approver.name}: ${reason}`
}

/** The part of the audit record that names who approved; written once the answer has ended. */
async function recordOf(decisionId: string, facts: DemoFacts): Promise<StepOutcome> {
  const { name } = facts.parties.approver
  for (let left = 20; left > 0; left--) {
    const record = (await ask(`/decisions/${decisionId}`, facts)) as {
      readonly outcome?: { readonly ended: string }
      readonly approval?: { readonly approved_by: readonly string[] } | null
    }
    if (record.outcome?.ended === 'completed') {
      const lines = [`audit: "approval":${JSON.stringify(record.approval)}`]
      if (record.approval?.approved_by.includes(name) === true) return { lines }
      return { lines, problem: `the record does not name ${name}` }
    }
    await new Promise((resolve) => setTimeout(resolve, 250))
  }
  return { lines: [], problem: 'the call has no audit record' }
}

async function ask(path: string, { controlUrl, readApproverToken }: DemoFacts, json?: string) {
  const headers = { authorization: `Bearer ${readApproverToken()}`, 'content-type': 'application/json' }
  const post = json === undefined ? {} : { method: 'POST', body: json }
  const response = await fetch(`${controlUrl}${path}`, { headers, ...post })
  return (await response.json()) as unknown
}
