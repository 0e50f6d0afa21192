// An agent that asks for a delete and waits until a human has decided. In: the environment. Out: what became of it.
// In your own project, import from 'leasegate/client'.
import { readFileSync } from 'node:fs'
import { ApprovalRefused, createLeaseClient, LeaseRefused, privateKeyJwt } from '../src/client/index.ts'

const { BROKER = '', GATE = '', AGENT_KEY = '', USER_TOKEN = '' } = process.env
const client = await createLeaseClient({
  broker: BROKER,
  clientId: 'support-triage',
  authenticate: privateKeyJwt(JSON.parse(readFileSync(AGENT_KEY, 'utf8'))),
  subjectToken: () => USER_TOKEN,
})
const lease = client.lease({
  task: 'jira:SUP-4711',
  purpose: 'remove a customer who asked for it',
  resource: GATE,
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
  // The gate keeps the call open for two seconds; after that the client looks after it.
  approval: {
    waitSeconds: 2,
    onWaiting: ({ id, expiresAt }) => console.log('waiting', id, expiresAt.toISOString()),
  },
})
try {
  const answer = await lease.fetch(`${GATE}/crm/customers/9821`, { method: 'DELETE' })
  console.log(answer.status, await answer.text())
} catch (error) {
  if (!(error instanceof LeaseRefused)) throw error
  console.error(error instanceof ApprovalRefused ? `a human said no: ${error.reason}` : error.message)
  process.exitCode = 1
}
