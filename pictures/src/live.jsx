// The dashboards on live data: an address for each, as in Grafana, /d/its-uid?from=…&to=…&var-user=…
import './public-path.js';

import { createTheme, setTimeZoneResolver } from '@grafana/data';
import { Alert } from '@grafana/ui';
import { useCallback, useEffect, useMemo, useState } from 'react';
import { createRoot } from 'react-dom/client';

import { contextOf } from './context.js';
import { Controls } from './controls.jsx';
import { Caption, Dashboard } from './dashboard.jsx';
import { usePlace } from './place.js';
import { newReport } from './report.js';
import { Stage, prepareStage } from './stage.jsx';
import { secondsOf } from './time.js';
import { Trace } from './trace.jsx';

const NARROWEST = 900;
const SHORTEST_REFRESH = 1;
const DARK = matchMedia('(prefers-color-scheme: dark)');

async function json(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

/** What is told from outside React, by an event. */
function useWatched(target, event, read) {
  const [value, setValue] = useState(read);
  useEffect(() => {
    const update = () => setValue(read());
    target.addEventListener(event, update);
    return () => target.removeEventListener(event, update);
  }, []);
  return value;
}

const widthNow = () => Math.max(NARROWEST, document.documentElement.clientWidth);

function App({ settings }) {
  const [place, go] = usePlace();
  const isDark = useWatched(DARK, 'change', () => DARK.matches);
  const theme = useMemo(() => createTheme({ colors: { mode: isDark ? 'dark' : 'light' } }), [isDark]);
  const [, kind, id] = place.path.split('/');
  return (
    <Stage theme={theme} cursor={1}>
      {kind === 'trace' ? (
        <Trace key={id} id={id} theme={theme} />
      ) : (
        <Page key={id} uid={id} settings={settings} place={place} go={go} theme={theme} />
      )}
    </Stage>
  );
}

/** The context that the address asks for, anew whenever `refresh` is called. Errors come in its place. */
function useContextOf(dashboard, place, still) {
  const [state, setState] = useState({});
  const [round, setRound] = useState(0);
  useEffect(() => {
    if (!dashboard) return undefined;
    let wanted = true;
    const report = newReport();
    contextOf(dashboard, place.query, report, still)
      .then((context) => wanted && setState({ context }))
      .catch((problem) => {
        report.failed(problem);
        if (wanted) setState((old) => ({ ...old, problem: problem.message }));
      });
    return () => void (wanted = false);
  }, [dashboard, place, still, round]);
  const refresh = useCallback(() => setRound((number) => number + 1), []);
  return { ...state, refresh };
}

/** Ask again and again, but not while nobody looks, nor before the last answers are there. */
function useRefresh(interval, { context, problem, refresh }) {
  const seconds = secondsOf(interval);
  useEffect(() => {
    if (!seconds) return undefined;
    const tick = () => {
      if (!document.hidden && (problem || !context?.report.isBusy())) refresh();
    };
    const timer = setInterval(tick, 1000 * Math.max(SHORTEST_REFRESH, seconds));
    return () => clearInterval(timer);
  }, [seconds, context, problem, refresh]);
}

function Page({ uid, settings, place, go, theme }) {
  const [dashboard, setDashboard] = useState();
  const [problem, setProblem] = useState();
  const width = useWatched(window, 'resize', widthNow);
  useEffect(() => {
    json(`/dashboards/${uid}`)
      .then(setDashboard)
      .catch((error) => {
        newReport().failed(error);
        setProblem(error.message);
      });
  }, [uid]);
  useEffect(() => void (dashboard && (document.title = dashboard.title)), [dashboard]);
  const onZoom = useCallback((from, to) => go({ from: Math.round(from), to: Math.round(to) }), [go]);
  const still = useMemo(
    () => ({ ...settings, theme, timeZone: 'browser', onZoom }),
    [settings, theme, onZoom],
  );
  const state = useContextOf(dashboard, place, still);
  useRefresh(place.query.get('refresh') ?? '', state);
  const { context, refresh } = state;
  const failure = problem ?? state.problem;
  return (
    <>
      {failure && <Alert title="This cannot be shown">{failure}</Alert>}
      {context && (
        <Dashboard
          context={context}
          controls={
            <Controls
              context={context}
              dashboard={dashboard}
              dashboards={settings.dashboards}
              go={go}
              place={place}
              refresh={refresh}
            />
          }
          dashboard={dashboard}
          width={width}
        >
          <Caption theme={theme} />
        </Dashboard>
      )}
    </>
  );
}

async function main() {
  await prepareStage();
  setTimeZoneResolver(() => Intl.DateTimeFormat().resolvedOptions().timeZone);
  const settings = await json('/settings.json');
  createRoot(document.getElementById('root')).render(<App settings={settings} />);
}

main().catch(newReport().failed);
