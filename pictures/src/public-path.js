// Where Grafana's components find their icons. Imported before them, since they read it when they load.
window.__grafana_public_path__ = '/public/';
