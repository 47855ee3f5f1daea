// Draws the dashboard that the address names, once, for a picture.
import './public-path.js';

import { createTheme, setTimeZoneResolver } from '@grafana/data';
import { createRoot } from 'react-dom/client';

import { contextOf } from './context.js';
import { Caption, Chips, Dashboard } from './dashboard.jsx';
import { newReport } from './report.js';
import { Stage, prepareStage } from './stage.jsx';

const TIME_ZONE = 'utc';

async function main(report) {
  const query = new URLSearchParams(location.search);
  await prepareStage();
  const [dashboard, settings] = await Promise.all(
    [`/dashboards/${query.get('uid')}`, '/settings.json'].map(async (path) => (await fetch(path)).json()),
  );
  const theme = createTheme({ colors: { mode: query.get('theme') } });
  setTimeZoneResolver(() => TIME_ZONE);
  const context = await contextOf(dashboard, query, report, { ...settings, theme, timeZone: TIME_ZONE });
  createRoot(document.getElementById('root')).render(
    <Stage theme={theme}>
      <Dashboard
        context={context}
        controls={<Chips context={context} dashboard={dashboard} />}
        dashboard={dashboard}
        width={Number(query.get('width'))}
      >
        <Caption theme={theme} />
      </Dashboard>
    </Stage>,
  );
}

const report = newReport();
main(report).catch(report.failed);
