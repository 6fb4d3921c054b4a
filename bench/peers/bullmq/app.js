// The usual stack that people put together themselves: Fastify, BullMQ on Redis, nodemailer.
//
//   node app.js api PORT        answers POST /send with 202 once the job is in Redis
//   node app.js worker          sends what is queued over a pool of connections
//
// REDIS is host:port, SMTP is host:port of the relay. cmd/service starts both.
const { Queue, Worker } = require('bullmq')

const at = (name) => {
  const [host, port] = process.env[name].split(':')
  return { host, port: Number(port) }
}
const connection = { ...at('REDIS'), maxRetriesPerRequest: null }

if (process.argv[2] === 'api') {
  const queue = new Queue('mail', { connection })
  const app = require('fastify')({ bodyLimit: 50 << 20 })
  app.get('/readyz', async () => { await queue.waitUntilReady(); return {} })
  app.post('/send', async (request, reply) => {
    const m = request.body
    if (!m || !m.from || !m.to || !m.subject) return reply.code(400).send({ error: 'missing from, to or subject' })
    const job = await queue.add('send', m, { attempts: 5, backoff: { type: 'exponential', delay: 1000 }, removeOnComplete: true })
    return reply.code(202).send({ id: job.id })
  })
  app.listen({ port: Number(process.argv[3]), host: '127.0.0.1' })
} else {
  const connections = 10
  const transport = require('nodemailer').createTransport({
    pool: true, maxConnections: connections, maxMessages: Infinity, ...at('SMTP'), ignoreTLS: true,
  })
  const worker = new Worker('mail', async (job) => (await transport.sendMail(job.data)).messageId, { connection, concurrency: 2 * connections })
  worker.on('error', (e) => console.error(e.message))
}
