// A complete agent: reads one customer for a user, under a lease of its own. In: the environment. Out: the
// customer, or why not. In your own project, import from 'leasegate/client'.
import { readFileSync } from 'node:fs'
import { createLeaseClient, LeaseRefused, privateKeyJwt } from '../src/client/index.ts'

const { BROKER = '', GATE = '', AGENT_KEY = '', USER_TOKEN = '' } = process.env
const client = await createLeaseClient({
  broker: BROKER,
  clientId: 'support-triage',
  authenticate: privateKeyJwt(JSON.parse(readFileSync(AGENT_KEY, 'utf8'))),
  subjectToken: () => USER_TOKEN,
})
const lease = client.lease({
  task: 'jira:SUP-4711',
  purpose: "answer the customer's billing question",
  resource: GATE,
  allow: ['read crm:customer/9821'],
})
try {
  const answer = await lease.fetch(`${GATE}/crm/customers/9821`)
  console.log(answer.status, await answer.text())
  await lease.complete()
} catch (error) {
  if (!(error instanceof LeaseRefused)) throw error
  console.error(error.message, error.missing)
  process.exitCode = 1
}
