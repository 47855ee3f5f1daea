// A list of alerts, of those that Prometheus has; Grafana's own panel asks Grafana for them.
import { dateTimeFormatTimeAgo } from '@grafana/data';
import { Badge } from '@grafana/ui';

import { Nothing } from './nothing.jsx';

const COLOURS = { firing: 'red', pending: 'orange' };

export function Alerts({ panel, alerts = [], theme, timeZone, ...others }) {
  const wanted = panel.options.stateFilter ?? { firing: true, pending: true };
  const shown = alerts
    .filter(({ state, labels }) => wanted[state] && labels.alertname.includes(panel.options.alertName ?? ''))
    .sort((a, b) => a.labels.alertname.localeCompare(b.labels.alertname))
    .slice(0, panel.options.maxItems);
  if (!shown.length) return <Nothing panel={panel} message="No alerts" theme={theme} {...others} />;
  return (
    <div style={{ height: '100%', overflow: 'auto' }}>
      {shown.map((alert) => (
        <Alert key={JSON.stringify(alert.labels)} {...alert} theme={theme} timeZone={timeZone} />
      ))}
    </div>
  );
}

function Alert({ labels, annotations, state, activeAt, theme, timeZone }) {
  const { secondary } = theme.colors.text;
  return (
    <div style={{ padding: '6px 0', borderBottom: `1px solid ${theme.colors.border.weak}` }}>
      <Badge color={COLOURS[state] ?? 'blue'} text={state} /> <b>{labels.alertname}</b>{' '}
      <span style={{ color: secondary }}>{dateTimeFormatTimeAgo(activeAt, { timeZone })}</span>
      <div style={{ color: secondary }}>{annotations?.summary ?? annotations?.description}</div>
    </div>
  );
}
